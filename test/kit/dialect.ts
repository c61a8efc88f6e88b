/** The contract kit of the dialect port: every promise of core/ports/dialect.ts, on a real engine through Sequelize. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Dialect, DriverError, DriverProblem, Run } from '../../core/ports/dialect.ts';
import { Process } from '../../core/process.ts';

type Config = Readonly<Record<string, unknown>>;
type Row = Readonly<Record<string, unknown>>;

export interface DialectUnderTest {
  readonly plugin: Plugin;
  /** The plugin's block for a fresh, empty database. */
  config(): Promise<Config>;
  /** `new Sequelize(options)`: the kit itself names no library. Without a log. */
  open(options: Record<string, unknown>): Database;
  /** A block that leads where no server listens; none for an engine without a server. */
  readonly nowhere?: Config;
  /** The text of the block's secret, which nothing may show. */
  readonly secret?: (config: Config) => string;
  /**
   * Ends a connection of the driver's as the end of its process would: without a word. None for an engine whose
   * connections are the process's own.
   */
  breakOff?(connection: unknown): void;
}

/** Of Sequelize, what the kit uses. */
export interface Database {
  query(sql: string, options: object): Promise<unknown>;
  transaction(): Promise<Work>;
  getQueryInterface(): {
    createTable(name: string, columns: object, options?: object): Promise<unknown>;
    bulkInsert(name: string, rows: object[], options?: object): Promise<unknown>;
    quoteIdentifier(name: string): string;
  };
  close(): Promise<void>;
}
export interface Work {
  commit(): Promise<unknown>;
  rollback(): Promise<unknown>;
}

/** Each is another text than each of the others, whatever a language thinks of it. */
const TEXTS = [
  ...[
    'a',
    'A',
    'a ',
    ' a',
    'a  ',
    'a\t',
    'a\n',
    'a-b',
    'ab',
    'a_b',
    'a%b',
    'a.b',
    '0',
    '00',
    '-0',
    '1e3',
    'null',
    'NULL',
  ],
  ...[
    'ä',
    'a\u0308',
    'Ä',
    'ą',
    'å',
    'æ',
    'ae',
    'ß',
    'ss',
    'SS',
    'ẞ',
    'i',
    'I',
    'ı',
    'İ',
    'é',
    'e\u0301',
    'ñ',
    'ｎ',
    'ａ',
    'Ａ',
  ],
  ...[
    'д',
    'Д',
    'か',
    'が',
    'ガ',
    '中',
    '\u00ad',
    'a\u00ad',
    'a\u200b',
    '\u0001',
    'a\u0001',
    '\u007f',
    '\uffff',
    '\ufffd',
  ],
  ...[
    '😀',
    '😁',
    '👩‍🚀',
    '👩',
    '\u{10ffff}',
    "it's",
    '"quoted"',
    '`ticked`',
    'back\\slash',
    '\\',
    "\\'",
    '--',
    '/* */',
    ':a',
    '$1',
    '?',
  ],
];
const LONGEST = 200;

export function testDialect(kit: DialectUnderTest): void {
  const opened: Database[] = [];
  const kernels: Process[] = [];
  let dialect: Dialect;
  let config: Config;
  let database: Database;

  const build = async (block: Config): Promise<Dialect> => {
    const kernel = new Process({ logs: new Logs({ level: 'silent' }) });
    kernels.push(kernel);
    kernel.create([
      { id: kit.plugin.id, plugin: kit.plugin, config: structuredClone(block) as Record<string, unknown> },
    ]);
    await kernel.start();
    return kernel.cradle.dialect;
  };
  /** As another process would: with its own plugin, pool and connections. */
  const open = async (block: Config = config): Promise<{ dialect: Dialect; database: Database }> => {
    const other = await build(block);
    await other.prepare?.();
    const made = kit.open(other.options());
    opened.push(made);
    return { dialect: other, database: made };
  };

  before(async () => {
    config = await kit.config();
    ({ dialect, database } = await open());
  });
  after(async () => {
    await Promise.all(opened.map((one) => one.close()));
    for (const kernel of kernels) await kernel.stop();
  });

  const rows = async (sql: string, options: object = {}, of = database): Promise<readonly Row[]> =>
    (await of.query(sql, { type: 'SELECT', ...options })) as readonly Row[];
  const quoted = (name: string) => database.getQueryInterface().quoteIdentifier(name);
  const failure = async (doing: Promise<unknown>): Promise<DriverError> => {
    const thrown = await doing.then(
      () => null,
      (error: unknown) => error,
    );
    if (thrown === null) throw new Error('Nothing failed');
    return driverError(thrown);
  };
  /** A table of exact texts, one row for each. */
  const table = async (name: string, texts: readonly string[]): Promise<void> => {
    const columns = { word: { type: dialect.exactText(LONGEST), primaryKey: true, allowNull: false } };
    await database.getQueryInterface().createTable(name, columns, { ...dialect.tables });
    if (texts.length > 0) await insert(name, texts);
  };
  const insert = async (name: string, texts: readonly string[], options: object = {}, of = database): Promise<void> => {
    for (const word of texts) await of.getQueryInterface().bulkInsert(name, [{ word }], options);
  };
  const words = async (sql: string, options: object = {}) =>
    (await rows(sql, options)).map((row) => String(Object.values(row)[0]));

  describe('options', () => {
    it('are the same each time, and made without asking anybody', async () => {
      const lost = await build(kit.nowhere ?? config);
      expect(plain(lost.options())).to.deep.equal(plain(lost.options()));
    });

    it('leave to the ODB what it decides: logging, retries, models', () => {
      expect(dialect.options()).to.not.have.any.keys(
        'logging',
        'retry',
        'define',
        'models',
        'benchmark',
        'isolationLevel',
      );
    });

    it('have the secret only where it is used', function () {
      const secret = kit.secret?.(config);
      if (secret === undefined) return skip(this, 'the block has no secret');
      const { password, ...rest } = dialect.options();
      expect(password).to.equal(secret);
      expect(JSON.stringify(plain(rest))).to.not.include(secret);
      expect(JSON.stringify(plain({ ...dialect }))).to.not.include(secret);
    });
  });

  describe('exactText', () => {
    before(() => table('kit_words', TEXTS));

    it('takes every one of many texts that a language takes for the same', async () => {
      const found = await words(`SELECT ${quoted('word')} FROM ${quoted('kit_words')}`);
      expect(found.toSorted()).to.deep.equal(TEXTS.toSorted());
    });

    it('refuses each of them a second time, and that is known for a duplicate', async () => {
      for (const word of TEXTS) {
        const thrown: unknown = await insert('kit_words', [word]).catch((error: unknown) => error);
        const { name, message } = thrown as { name?: string; message?: string };
        // Where Sequelize names it itself, it may keep the driver's error to itself.
        const known =
          name === 'SequelizeUniqueConstraintError' || dialect.classify(driverError(thrown)) === 'duplicate';
        expect(known, `${JSON.stringify(word)}: ${name} ${message}`).to.equal(true);
      }
    });

    it('finds each by itself alone', async () => {
      const sql = `SELECT ${quoted('word')} FROM ${quoted('kit_words')} WHERE ${quoted('word')} = $1`;
      for (const word of TEXTS) expect(await words(sql, { bind: [word] })).to.deep.equal([word]);
    });

    it('joins each with itself alone', async () => {
      const [name, word] = [quoted('kit_words'), quoted('word')];
      const sql = `SELECT a.${word} FROM ${name} a JOIN ${name} b ON a.${word} = b.${word}`;
      expect(await words(sql)).to.have.lengthOf(TEXTS.length);
    });

    it('sorts by code points, up and down', async () => {
      const sql = `SELECT ${quoted('word')} FROM ${quoted('kit_words')} ORDER BY ${quoted('word')}`;
      expect(await words(sql)).to.deep.equal(TEXTS.toSorted(byCodePoint));
      expect(await words(`${sql} DESC`)).to.deep.equal(TEXTS.toSorted(byCodePoint).reverse());
    });

    it('compares as it sorts: what comes after a text is greater than it', async () => {
      const sorted = TEXTS.toSorted(byCodePoint);
      const sql = `SELECT ${quoted('word')} FROM ${quoted('kit_words')} WHERE ${quoted('word')} > $1 ORDER BY ${quoted('word')}`;
      for (const [i, word] of sorted.entries()) {
        expect(await words(sql, { bind: [word] }), JSON.stringify(word)).to.deep.equal(sorted.slice(i + 1));
      }
    });

    it('does all that with any texts', async function () {
      this.timeout(60_000);
      // Neither NUL, which not every engine keeps, nor halves of a pair, which are no characters.
      const text = fc
        .string({ unit: 'binary', minLength: 1, maxLength: 20 })
        .filter((t) => t.isWellFormed() && !t.includes('\u0000'));
      const some = fc.uniqueArray(text, { minLength: 1, maxLength: 30 });
      let n = 0;
      await fc.assert(
        fc.asyncProperty(some, async (texts) => {
          const name = `kit_any_${++n}`;
          await table(name, texts);
          const found = await words(`SELECT ${quoted('word')} FROM ${quoted(name)} ORDER BY ${quoted('word')}`);
          expect(found).to.deep.equal(texts.toSorted(byCodePoint));
        }),
        { numRuns: 20 },
      );
    });

    it('keeps as many characters as it is told, of whatever kind', async () => {
      const texts = ['x', 'ä', '中', '😀'].map((one) => one.repeat(LONGEST));
      await table('kit_long', texts);
      expect((await words(`SELECT ${quoted('word')} FROM ${quoted('kit_long')}`)).toSorted()).to.deep.equal(
        texts.toSorted(),
      );
    });

    it('keeps an empty text', async function () {
      if (!dialect.supports.emptyText) return skip(this, 'an empty text becomes NULL');
      await table('kit_empty', ['']);
      expect(await rows(`SELECT ${quoted('word')} AS ${quoted('w')} FROM ${quoted('kit_empty')}`)).to.deep.equal([
        { w: '' },
      ]);
    });
  });

  describe('now', () => {
    before(() => table('kit_now', ['one']));
    const now = async (options: object = {}): Promise<number> => {
      const [row] = await rows(`SELECT ${dialect.now} AS ${quoted('n')} FROM ${quoted('kit_now')}`, options);
      return Number(row?.['n']);
    };

    it('is the time in whole ms since 1970, whatever the zone is', async () => {
      const [before, told, after] = [Date.now(), await now(), Date.now()];
      expect(told).to.satisfy(Number.isSafeInteger);
      // Of another machine the clock may differ, but not by as much as a zone.
      expect(told).to.be.within(before - 60_000, after + 60_000);
    });

    it('goes on within a transaction, by less than a second', async function () {
      this.timeout(30_000);
      const { transaction } = await begin(database);
      try {
        const seen = [await now({ transaction })];
        while (seen.length < 4) {
          const next = await now({ transaction });
          expect(next).to.be.at.least(seen.at(-1) as number);
          if (next > (seen.at(-1) as number)) seen.push(next);
        }
        expect(
          seen.filter((ms) => ms % 1000 !== 0),
          String(seen),
        ).to.have.lengthOf.at.least(1);
      } finally {
        await transaction.rollback();
      }
    });

    it('is a number that can be reckoned with and compared', async () => {
      const sql = `SELECT ${quoted('word')} FROM ${quoted('kit_now')} WHERE ${dialect.now} - $1 > 1000 AND ${dialect.now} + $2 > $3`;
      const later = Date.now() + 600_000;
      expect(await words(sql, { bind: [5, 1_200_000, later] })).to.deep.equal(['one']);
      expect(await words(sql, { bind: [5, 0, later] })).to.deep.equal([]);
    });
  });

  describe('patience', () => {
    before(() => table('kit_patient', ['one']));
    /** A row that is locked in a transaction, which is then silent; who else wants it, and what became of the first. */
    const silent = async (name: string, first: string | null) => {
      await table(name, ['one']);
      const [a, b] = [await begin((await open()).database), await begin((await open()).database)];
      if (first !== null) await a.database.query(first, { transaction: a.transaction });
      const touch = (by: typeof a) =>
        by.database.query(`UPDATE ${quoted(name)} SET ${quoted('word')} = 'two' WHERE ${quoted('word')} = 'one'`, {
          transaction: by.transaction,
        });
      await touch(a);
      const waiting = touch(b);
      return { a, b, touch, waiting };
    };

    it('is lost with a transaction that is silent for too long: it is undone, and others go on', async function () {
      this.timeout(60_000);
      const first = dialect.patience?.(1000) ?? null;
      if (first === null) return skip(this, 'the engine cannot do it');
      const { a, b, touch, waiting } = await silent('kit_patience', first);
      await waiting;
      await b.transaction.commit();
      const late = touch(a).then(() => a.transaction.commit());
      expect(dialect.classify(await failure(late))).to.equal('unavailable');
      expect(await words(`SELECT ${quoted('word')} FROM ${quoted('kit_patience')}`)).to.deep.equal(['two']);
    });

    it('is not lost where it is told so, also on a connection where it was less before', async function () {
      this.timeout(60_000);
      if (dialect.patience === undefined) return skip(this, 'the engine cannot do it');
      const { database: other } = await open();
      const told = async (ms: number | null) => {
        const { transaction, run } = await begin(other);
        const first = dialect.patience?.(ms) ?? null;
        if (first !== null) await other.query(first, { transaction });
        return { transaction, run };
      };
      const sql = `SELECT COUNT(*) AS n FROM ${quoted('kit_patient')}`;
      const impatient = await told(1000);
      await impatient.run(sql);
      await impatient.transaction.commit();
      const patient = await told(null);
      await patient.run(sql);
      // That nothing happens has no sign but the time.
      await new Promise((resolve) => setTimeout(resolve, 2500));
      await patient.run(sql);
      await patient.transaction.commit();
    });
  });

  describe('tables', () => {
    it('are rolled back with the transaction that made them', async function () {
      if (!dialect.supports.transactionalDdl) return skip(this, 'a table that is made ends the transaction');
      const transaction = await database.transaction();
      const columns = { word: { type: dialect.exactText(LONGEST), primaryKey: true } };
      await database.getQueryInterface().createTable('kit_undone', columns, { ...dialect.tables, transaction });
      await transaction.rollback();
      await failure(rows(`SELECT * FROM ${quoted('kit_undone')}`));
    });
  });

  describe('lock', () => {
    it('lets one migrate at a time, and each in its turn', async function () {
      this.timeout(60_000);
      let inside = 0;
      let most = 0;
      const migrate = async () => {
        const holder = await locked(await open());
        most = Math.max(most, ++inside);
        // What the next one would collide with.
        for (let i = 0; i < 5; i++) await rows(`SELECT COUNT(*) AS n FROM ${quoted('kit_words')}`);
        inside--;
        await holder.release();
      };
      await Promise.all(Array.from({ length: 6 }, migrate));
      expect(most, 'how many were in at once').to.equal(1);
    });

    it('is held while tables are made, on this connection or on others', async function () {
      this.timeout(60_000);
      const [first, second] = [await open(), await open()];
      // Connected before, so that it would be in at once were the lock none.
      await rows(`SELECT COUNT(*) AS n FROM ${quoted('kit_words')}`, {}, second.database);
      const holder = await locked(first);
      let got = false;
      const waiting = locked(second).finally(() => (got = true));
      const columns = { word: { type: dialect.exactText(LONGEST), primaryKey: true } };
      const within = dialect.supports.transactionalDdl ? { transaction: holder.transaction } : {};
      for (let i = 0; i < 5; i++) {
        await first.database
          .getQueryInterface()
          .createTable(`kit_made_${i}`, columns, { ...dialect.tables, ...within });
        expect(got, `let in after table ${i}`).to.equal(false);
      }
      await holder.release();
      await (await waiting).release();
      expect(await rows(`SELECT * FROM ${quoted('kit_made_4')}`)).to.deep.equal([]);
    });

    it('is released by the end of who held it', async function () {
      this.timeout(60_000);
      if (kit.breakOff === undefined) return skip(this, 'no way to break a connection off is known');
      const [first, second] = [await open(), await open()];
      const holder = await locked(first);
      const waiting = locked(second);
      kit.breakOff((holder.transaction as { connection?: unknown }).connection);
      await (await waiting).release();
    });

    it('is another one in another database', async function () {
      this.timeout(60_000);
      const first = await locked(await open());
      const second = await locked(await open(await kit.config()));
      await second.release();
      await first.release();
    });
  });

  describe('classify', () => {
    const told = async (expected: DriverProblem | null, doing: Promise<unknown>) => {
      const error = await failure(doing);
      expect(dialect.classify(error), `${String(error.code)} ${error.message}`).to.equal(expected);
    };

    it('names a server that does not listen', async function () {
      if (kit.nowhere === undefined) return skip(this, 'it has no server');
      const { database: lost } = await open(kit.nowhere);
      await told('unavailable', rows('SELECT 1', {}, lost));
    });

    it('names two writers that wait for each other', async function () {
      this.timeout(60_000);
      if (dialect.oneWriter === true) return skip(this, 'it has one writer at a time');
      await table('kit_pair', ['one', 'two']);
      const [a, b] = [await begin(database), await begin((await open()).database)];
      const touch = (by: typeof a, word: string) =>
        by.database.query(
          `UPDATE ${quoted('kit_pair')} SET ${quoted('word')} = ${quoted('word')} WHERE ${quoted('word')} = '${word}'`,
          {
            transaction: by.transaction,
          },
        );
      await touch(a, 'one');
      await touch(b, 'two');
      const crossed = await Promise.allSettled([touch(a, 'two'), touch(b, 'one')]);
      const failed = crossed.flatMap((one) => (one.status === 'rejected' ? [driverError(one.reason)] : []));
      expect(failed, 'who was sacrificed').to.have.lengthOf(1);
      expect(dialect.classify(failed[0] as DriverError), failed[0]?.message).to.equal('busy');
      await Promise.allSettled([a.transaction.rollback(), b.transaction.rollback()]);
    });

    it('names nothing that is a mistake of the caller', async () => {
      await told(null, rows('SELECT nonsense FROM nowhere'));
      await told(null, rows('this is no SQL'));
      await told(null, insert('kit_words', [null as unknown as string]));
    });

    it('never throws, whatever an error looks like', () => {
      const odd = fc.oneof(fc.anything(), fc.constantFrom('ECONNREFUSED', '', 'ORA-1', 1062, -1, Number.NaN));
      fc.assert(
        fc.property(odd, odd, fc.option(fc.string(), { nil: undefined }), (code, errno, message) => {
          const problem = dialect.classify({ code, errno, ...(message === undefined ? {} : { message }) });
          expect(problem).to.be.oneOf([null, 'duplicate', 'busy', 'unavailable', 'timeout', 'full']);
          const advice = dialect.advise?.({ code, errno, ...(message === undefined ? {} : { message }) }) ?? null;
          expect(advice === null || (typeof advice === 'string' && advice !== '')).to.equal(true);
        }),
      );
      expect(dialect.classify({})).to.equal(null);
    });
  });
}

/** A transaction, and what runs in it. */
async function begin(database: Database): Promise<{ database: Database; transaction: Work; run: Run }> {
  const transaction = await database.transaction();
  const run: Run = async (sql) => (await database.query(sql, { transaction, type: 'SELECT' })) as readonly Row[];
  return { database, transaction, run };
}

/** The lock, held in a transaction until it is released. */
async function locked({ dialect, database }: { dialect: Dialect; database: Database }) {
  const { transaction, run } = await begin(database);
  await dialect.lock(run);
  const release = async () => {
    await dialect.unlock?.(run);
    await transaction.commit();
  };
  return { transaction, release };
}

/** What the driver threw, below what Sequelize made of it. */
function driverError(thrown: unknown): DriverError {
  const { parent, original } = thrown as { parent?: DriverError; original?: DriverError };
  return parent ?? original ?? (thrown as DriverError);
}

function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Without functions and libraries, which are no settings. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, entry) => (key === 'dialectModule' ? undefined : entry)));
}

/** Says why, and marks the test as not run. */
function skip(test: Mocha.Context, why: string): void {
  process.stdout.write(`      (not tried: ${why})\n`);
  test.skip();
}
