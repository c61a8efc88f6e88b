import path from 'node:path';
import { didYouMean, GantryError, type Secret } from '../../core/api.ts';

/** Where all of them keep their records: which of our config files say so, and what those are told. */
export interface Database {
  /** After the role in a file's name: `server-postgres.yaml`. */
  readonly suffix: '' | '-postgres' | '-mysql';
  readonly env: Readonly<Record<string, string>>;
  /** For people, without a password. */
  readonly where: string;
}

const SUFFIXES: Readonly<Record<string, Database['suffix']>> = {
  postgres: '-postgres',
  postgresql: '-postgres',
  mysql: '-mysql',
  mariadb: '-mysql',
};
const FORM = 'postgres://user:password@host:port/database';

/** Throws CONFIG_INVALID, without showing the URL. */
export function databaseOf(secret: Secret | undefined, folder: string, plugin: string): Database {
  const text = secret?.reveal() ?? '';
  if (text === '') {
    const file = path.join(folder, 'gantry.sqlite');
    return { suffix: '', env: { GANTRY_SQLITE_FILE: file }, where: `SQLite, ${file}` };
  }
  const refuse = (message: string, hint = `It looks like ${FORM}, or is empty: then it is SQLite.`) => {
    const problem = { plugin, path: `plugins.${plugin}.databaseUrl`, message, expected: FORM, got: 'a secret', hint };
    return new GantryError('CONFIG_INVALID', 'The database cannot be used', { problems: [problem] });
  };
  if (!URL.canParse(text)) throw refuse('is not a URL');
  const url = new URL(text);
  const scheme = url.protocol.slice(0, -1);
  const suffix = Object.hasOwn(SUFFIXES, scheme) ? SUFFIXES[scheme] : undefined;
  if (suffix === undefined) {
    const near = didYouMean(scheme, Object.keys(SUFFIXES));
    throw refuse(`begins with ${scheme}:, and there are ${Object.keys(SUFFIXES).join(', ')}`, near || undefined);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const parts = { host, name: url.pathname.slice(1), user: url.username, password: url.password };
  const missing = Object.entries(parts).flatMap(([part, value]) => (value === '' ? [part] : []));
  if (missing.length > 0) throw refuse(`has no ${missing.join(', no ').replace('name', 'database')}`);
  if (url.search !== '')
    throw refuse('has settings after a question mark', 'Put those into a config file of your own.');
  const decoded = (value: string) => {
    try {
      return decodeURIComponent(value);
    } catch {
      throw refuse('has a percent sign that begins no character', "Write '%25' for a percent sign.");
    }
  };
  return {
    suffix,
    env: {
      GANTRY_DATABASE_HOST: host,
      ...(url.port === '' ? {} : { GANTRY_DATABASE_PORT: url.port }),
      GANTRY_DATABASE_NAME: decoded(parts.name),
      GANTRY_DATABASE_USER: decoded(parts.user),
      GANTRY_DATABASE_PASSWORD: decoded(parts.password),
    },
    where: `${scheme}://${url.host}/${parts.name}`,
  };
}
