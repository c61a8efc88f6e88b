/** Records in an SQL database, through Sequelize: SQLite, PostgreSQL, MySQL, MariaDB, Oracle, as the dialect says. */
import { definePlugin, Type } from '../../core/api.ts';
import type { Odb } from '../../core/ports/index.ts';
import { isName, isStorable } from './content.ts';
import { checkLimit } from './cursor.ts';
import { Database } from './database.ts';
import { forget, once } from './effects.ts';
import { history } from './history.ts';
import { leasesOn } from './leases.ts';
import { referrersOf } from './links.ts';
import { list } from './listing.ts';
import { changes, load, pick, revisionOf } from './reader.ts';
import { runsOn } from './runs.ts';
import { write } from './writer.ts';

const Config = Type.Object(
  {
    timeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      description: 'For one operation with the database, all its tries included',
    }),
    connectTimeoutMs: Type.Integer({
      default: 5000,
      minimum: 100,
      description: 'How long the start waits for the database; later it goes on without, and goes on trying',
    }),
    migrateTimeoutMs: Type.Integer({
      default: 600_000,
      minimum: 1000,
      description: 'For changing the tables at the start, or waiting until another server has done it',
    }),
  },
  { additionalProperties: false },
);

/** The most changes that are given at once. */
const MOST_CHANGES = 100_000;

export default definePlugin({
  id: 'odb.sequelize',
  api: 1,
  config: Config,
  needs: ['dialect'],
  create({ config, log, dialect }): Odb & { start(): Promise<void>; stop(): Promise<void> } {
    const database = new Database(dialect, log, config);
    return {
      get problem() {
        return database.problem;
      },
      revision: () => database.read(revisionOf),
      load: (kinds) => database.read((session) => load(session, kinds, log)),
      find: (kind, name) => database.read(async (session) => (await pick(session, kind, [name], log))[0] ?? null),
      pick: (kind, names) => database.read((session) => pick(session, kind, names, log)),
      list: (kind, query) => database.read((session) => list(session, kind, query, log)),
      referrers: (kind, name) =>
        database.read(async (session) =>
          isName(name) && isStorable(kind) ? referrersOf(session, { kind, name }) : [],
        ),
      changes: (after, limit) =>
        database.read((session) => {
          checkLimit(limit, MOST_CHANGES);
          return changes(session, after, limit);
        }),
      history: (query) => database.read((session) => history(session, query)),
      write: (writes, by) => write(database, writes, by),
      rehearse: async (writes, by) => void (await write(database, writes, by, true)),
      once: (key, work, within) => once(database, key, work, within),
      forget: (before) => forget(database, before),
      leases: leasesOn(database),
      runs: runsOn(database),
      start: () => database.start(),
      stop: () => database.stop(),
    };
  },
});
