/** Where the servers of a trial keep their records: a fresh database, and how it is read beside them. */
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import dialectMysql from '../../../plugins/dialect-mysql/index.ts';
import dialectPostgres from '../../../plugins/dialect-postgres/index.ts';
import dialectSqlite from '../../../plugins/dialect-sqlite/index.ts';
import { type Connected, connect } from '../../engines/connect.ts';
import { type User, unprivileged } from '../../engines/daemon.ts';
import { programsOf } from '../../engines/engine.ts';
import { FakedClock } from '../../engines/faketime.ts';
import { type Engine, ownMariadb } from '../../engines/index.ts';
import { postgresKind } from '../../engines/postgres.ts';

export type StoreName = 'postgres' | 'mariadb' | 'sqlite';

export interface Store {
  /** Null: a file. */
  readonly engine: Engine | null;
  /** The plugin that reaches it. */
  readonly plugin: string;
  /** Its block in a server's config; by another way, where one is given. */
  block(by?: { readonly host: string; readonly port: number }): Readonly<Record<string, unknown>>;
  connect(): Promise<Connected>;
  /** Of its clock; null where that is the machine's own, or the servers'. */
  readonly clock: FakedClock | null;
  close(): Promise<void>;
}

/** Rejects where this machine does not have the program. `folder`: for a file. */
export async function openStore(name: StoreName, folder: string, library: string | null): Promise<Store> {
  if (name === 'sqlite') return sqliteStore(folder);
  if (name === 'postgres') return ownPostgres(folder, library);
  const engine = await ownMariadb();
  if (engine === null) throw new Error('MariaDB is needed');
  return engineStore(engine, async () => {});
}

async function engineStore(
  engine: Engine,
  close: () => Promise<void>,
  clock: FakedClock | null = null,
): Promise<Store> {
  const database = await engine.database();
  const isPostgres = engine.name === 'PostgreSQL';
  const block: Store['block'] = ({ host, port } = engine) => {
    return { host, port, user: engine.user, password: engine.password, database };
  };
  const dialect = isPostgres ? dialectPostgres : dialectMysql;
  return {
    engine,
    plugin: isPostgres ? 'dialect.postgres' : 'dialect.mysql',
    block,
    connect: () => connect(dialect, block()),
    clock,
    close,
  };
}

function sqliteStore(folder: string): Store {
  const file = path.join(folder, 'records.sqlite');
  const block = () => ({ file });
  return {
    engine: null,
    plugin: 'dialect.sqlite',
    block,
    connect: () => connect(dialectSqlite, block()),
    clock: null,
    close: async () => {},
  };
}

/** One that nobody else uses: it may be stopped. With a library its clock can be set while it runs. */
async function ownPostgres(folder: string, library: string | null): Promise<Store> {
  const programs = programsOf(postgresKind);
  if (typeof programs === 'string') throw new Error(`PostgreSQL is needed: ${programs}`);
  const [server = '', ...others] = programs;
  const clock = library === null ? null : new FakedClock(library, path.join(folder, 'clock'), postgresUser());
  const wrapper = clock === null ? server : wrapped(server, folder, clock);
  const { engine, warden } = await postgresKind.open([wrapper, ...others]);
  return engineStore(engine, () => warden.close(), clock);
}

/** The same program with another environment, and the same process id. */
function wrapped(program: string, folder: string, clock: FakedClock): string {
  const file = path.join(folder, path.basename(program));
  const env = Object.entries(clock.env).map(([key, value]) => `export ${key}='${value}'`);
  // Its user has to get in.
  chmodSync(folder, 0o755);
  writeFileSync(file, ['#!/bin/sh', ...env, `exec '${program}' "$@"`, ''].join('\n'), { mode: 0o755 });
  return file;
}
function postgresUser(): User | null {
  return unprivileged('postgres', 'nobody');
}
