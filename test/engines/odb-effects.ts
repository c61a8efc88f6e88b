import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect } from 'chai';
import type { Odb, RunSql } from '../../core/ports/odb.ts';
import { type OdbServer, refusal } from '../kit/odb-world.ts';
import type { Engine } from './engine.ts';
import type { EffectOrder, EffectReport } from './odb-effect-server.ts';
import { ask, openServer } from './odb-plugins.ts';

export interface Effects {
  readonly dialect: string;
  /** For a fresh database. */
  config(): Promise<Readonly<Record<string, unknown>>>;
  /** Where it is a server, which can go away. */
  readonly engine?: () => Engine;
  /** One writer at a time: who waits for an effect waits for all changes. */
  readonly oneWriter?: true;
}

/** PostgreSQL looks for who locks whom after a second. */
const PAIRS = 4;
const INSERT = 'INSERT INTO test_effects (id, n) VALUES ($1, $2)';
const add = (id: string) => (run: RunSql) => run(INSERT, [id, 0]);

/** Two of which each waits for the other one. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** once(), where processes die, engines go away, and others are in the way. */
export function testEffects(under: Effects): void {
  describe('effects', function () {
    this.timeout(60_000);
    const servers: OdbServer[] = [];
    const children: ChildProcess[] = [];
    let config: Readonly<Record<string, unknown>>;

    before(async () => {
      config = await under.config();
      const server = await openServer(under.dialect, config);
      await server.stop();
      await sql('CREATE TABLE test_effects (id VARCHAR(60) PRIMARY KEY, n INTEGER NOT NULL)');
    });
    afterEach(async () => {
      for (const child of children.splice(0)) child.kill('SIGKILL');
      for (const server of servers.splice(0)) await server.stop();
    });

    const sql = (text: string) => ask(under.dialect, config, text);
    const open = async (limits: object = {}, more: object = {}): Promise<Odb> => {
      const server = await openServer(under.dialect, { ...config, ...more }, { ...limits });
      servers.push(server);
      return server.odb;
    };
    const rows = async (like: string) => sql(`SELECT id, n FROM test_effects WHERE id LIKE '${like}'`);
    const child = (order: Omit<EffectOrder, 'dialect' | 'config'>): ChildProcess => {
      const made = fork(path.join(import.meta.dirname, 'odb-effect-server.ts'), { execArgv: ['--import', 'tsx'] });
      children.push(made);
      made.send({ dialect: under.dialect, config, ...order } satisfies EffectOrder);
      return made;
    };
    const world: World = { under, open, sql, rows, child };

    testUpgrade(world);
    testKilled(world);
    testHanging(world);
    if (under.oneWriter === undefined) testBeside(world);
    if (under.engine !== undefined) testAway(world, under.engine);
  });
}

interface World {
  readonly under: Effects;
  open(limits?: object, more?: object): Promise<Odb>;
  sql(text: string): Promise<readonly Record<string, unknown>[]>;
  rows(like: string): Promise<readonly Record<string, unknown>[]>;
  child(order: Omit<EffectOrder, 'dialect' | 'config'>): ChildProcess;
}

/** What each version before this one had: the migrations after it only add these tables. */
const VERSIONS = [
  {
    last: '0001-records',
    added: ['gantry_effects', 'gantry_leases', 'gantry_runs'],
    migrated: ['0002-effects', '0003-runs'],
  },
  { last: '0002-effects', added: ['gantry_leases', 'gantry_runs'], migrated: ['0003-runs'] },
];

function testUpgrade({ under }: World): void {
  for (const version of VERSIONS) testUpgradeFrom(under, version);
}

function testUpgradeFrom(under: Effects, { last, added, migrated }: (typeof VERSIONS)[number]): void {
  it(`come to a database that had been migrated up to ${last}, and nothing there is changed`, async () => {
    const config = await under.config();
    const by = { name: 'the test' };
    const old = await openServer(under.dialect, config);
    await old.odb.write(
      [{ action: 'create', kind: 'k', name: 'a', body: { n: 1 }, fields: { f: 'x' }, claims: ['c'] }],
      by,
    );
    await old.odb.write([{ action: 'update', kind: 'k', name: 'a', version: 1, body: { n: 2 }, after: { n: 2 } }], by);
    const before = [await old.odb.load(['k']), await old.odb.changes(0, 10)];
    await old.stop();
    for (const table of added) await ask(under.dialect, config, `DROP TABLE ${table}`);
    await ask(under.dialect, config, `DELETE FROM gantry_migrations WHERE name > '${last}'`);

    const server = await openServer(under.dialect, config);
    expect(server.migrated()).to.deep.equal(migrated);
    expect([await server.odb.load(['k']), await server.odb.changes(0, 10)]).to.deep.equal(before);
    expect(await server.odb.once('k', async () => 1)).to.deep.equal({ first: true, value: 1 });
    expect(await server.odb.runs.counts()).to.deep.equal({ running: 0, waiting: 0, dead: 0 });
    expect(await server.odb.leases.take('l', { holder: 'h', server: 's' }, 1000)).to.include({ epoch: 1 });
    await server.stop();
    const again = await openServer(under.dialect, config);
    expect(again.migrated()).to.deep.equal([]);
    expect(await again.odb.once('k', async () => 2)).to.deep.equal({ first: false, value: 1 });
    await again.stop();
  });
}

function testKilled({ open, rows, child }: World): void {
  it('are undone by kill -9 of the server that makes one: who waits for it makes it', async () => {
    const odb = await open();
    const holder = child({ hold: 'killed' });
    const [report] = (await once(holder, 'message')) as [EffectReport];
    expect(report).to.equal('held');
    const asking = [1, 2, 3].map(() => odb.once('killed', add('killed')));
    holder.kill('SIGKILL');
    const ends = await Promise.all(asking);
    expect(ends.map((end) => end.first).toSorted()).to.deep.equal([false, false, true]);
    expect((await rows('killed')).map((row) => row['n'])).to.deep.equal([0]);
  });

  it('are each made once, where servers are killed and others ask for the same', async () => {
    const odb = await open();
    const told = [0, 0];
    const works = told.map(async (_, i) => {
      const made = child({ prefix: 'many' });
      made.on('message', (n: EffectReport) => {
        told[i] = Number(n);
        if (n === 20 + 13 * i) made.kill('SIGKILL');
      });
      await once(made, 'exit');
    });
    await Promise.all(works);
    const most = Math.max(...told);
    expect(most).to.be.at.least(33);
    for (let n = 0; n < most + 10; n++) {
      const key = `many ${n}`;
      const { first } = await odb.once(key, add(key));
      if (n <= most) expect(first, key).to.equal(false);
    }
    expect(await rows('many %')).to.have.lengthOf(most + 10);
  });
}

function testHanging({ open, rows }: World): void {
  it('whose work never ends are undone when their time is over, and are in nobody else’s way', async () => {
    const odb = await open({ timeoutMs: 500 });
    let run: RunSql | null = null;
    const hanging = odb.once('hanging', async (given) => {
      run = given;
      await given(INSERT, ['hanging', 1]);
      await new Promise(() => {});
    });
    const error = await refusal('ODB_UNAVAILABLE', hanging, '500 ms');
    expect(error.retryable).to.equal(true);
    expect(await rows('hanging')).to.deep.equal([]);
    expect((await odb.once('hanging', add('hanging'))).first).to.equal(true);
    await odb.write([{ action: 'create', kind: 'k', name: 'after', body: {} }], { name: 'the test' });
    await refusal('ODB_UNAVAILABLE', (run as unknown as RunSql)(INSERT, ['late', 1]));
    expect(await rows('late')).to.deep.equal([]);
  });
}

/** Where several can write at a time. */
function testBeside({ under, open, rows, sql }: World): void {
  it('do not wait for changes of records, nor these for them', async () => {
    const odb = await open();
    const { open: leave, opened } = gate();
    const { open: enter, opened: entered } = gate();
    const effect = odb.once('beside', async (run) => {
      await run(INSERT, ['beside', 1]);
      enter();
      await opened;
    });
    await entered;
    await odb.write([{ action: 'create', kind: 'k', name: 'beside', body: {} }], { name: 'the test' });
    leave();
    expect((await effect).first).to.equal(true);
  });

  it('that wait for one of the same key hold no connection: others go on', async () => {
    const odb = await open({}, { pool: { max: 2, acquireMs: 5000 } });
    const { open: leave, opened } = gate();
    const { open: enter, opened: entered } = gate();
    const work = async (run: RunSql) => {
      await run(INSERT, ['crowd', 1]);
      enter();
      await opened;
      return 'done';
    };
    const crowd = [odb.once('crowd', work)];
    await entered;
    for (let i = 0; i < 10; i++) crowd.push(odb.once('crowd', work));
    expect((await odb.once('crowd other', async () => 1)).first).to.equal(true);
    expect(await odb.revision()).to.be.a('number');
    leave();
    expect((await Promise.all(crowd)).map((end) => end.value)).to.deep.equal(Array(11).fill('done'));
  });

  it('that lock each other are undone and may be asked for again: each is made once', async () => {
    const [one, two] = [await open({}, { pool: { max: 3 } }), await open()];
    await sql("INSERT INTO test_effects (id, n) VALUES ('lock a', 0)");
    await sql("INSERT INTO test_effects (id, n) VALUES ('lock b', 0)");
    const codes: string[] = [];
    // Each pair takes both rows, in opposite orders, and neither goes on before the other has one.
    const pair = async (n: number) => {
      const gates = [gate(), gate()];
      const transfer = async (odb: Odb, side: number) => {
        const names = side === 0 ? ['lock a', 'lock b'] : ['lock b', 'lock a'];
        for (let done = false, tries = 0; !done; tries++) {
          const work = async (run: RunSql) => {
            for (const [i, name] of names.entries()) {
              await run('UPDATE test_effects SET n = n + 1 WHERE id = $1', [name]);
              if (i === 0) gates[side]?.open();
              if (i === 0 && tries === 0) await gates[1 - side]?.opened;
            }
            await run(INSERT, [`lock ${n} ${side}`, 1]);
          };
          try {
            await odb.once(`lock ${n} ${side}`, work);
            done = true;
          } catch (error) {
            codes.push((error as { code: string }).code);
          }
        }
      };
      await Promise.all([transfer(one, 0), transfer(n % 2 === 0 ? one : two, 1)]);
    };
    let made = 0;
    let ended = false;
    // They wait for connections: one on which an effect was undone must be at its end before it is given to the next.
    const others = Array.from({ length: 4 }, async () => {
      while (!ended) await one.once(`lock other ${made}`, add(`lock other ${made++}`));
    });
    for (let n = 0; n < PAIRS; n++) await pair(n);
    ended = true;
    await Promise.all(others);
    expect(codes).to.have.lengthOf.at.least(PAIRS);
    expect([...new Set(codes)]).to.deep.equal(['ODB_UNAVAILABLE']);
    const counted = (await rows('lock _')).map((row) => row['n']);
    expect(counted).to.deep.equal([2 * PAIRS, 2 * PAIRS]);
    expect(await rows('lock other %')).to.have.lengthOf(made);
    expect(await rows('lock % %')).to.have.lengthOf(made + 2 * PAIRS);
    process.stdout.write(
      `        (${codes.length} of ${2 * PAIRS + codes.length} askings on ${under.dialect} were undone)\n`,
    );
  });
}

function testAway({ open, rows }: World, engine: () => Engine): void {
  afterEach(() => engine().start());

  it('are undone where the engine is stopped in the middle, and made once when it is asked for again', async () => {
    const odb = await open({ timeoutMs: 2000, connectTimeoutMs: 1000 });
    const doing = odb.once('stopped', async (run) => {
      await run(INSERT, ['stopped', 1]);
      await engine().stop();
      await run('UPDATE test_effects SET n = 2 WHERE id = $1', ['stopped']);
    });
    expect((await refusal('ODB_UNAVAILABLE', doing)).retryable).to.equal(true);
    await engine().start();
    const again = await untilDone(odb, 'stopped', 5);
    expect(again.first).to.equal(true);
    expect((await rows('stopped')).map((row) => row['n'])).to.deep.equal([5]);
    expect(odb.problem).to.equal(null);
  });

  it('are each made once, where the engine crashes under use and everything is asked for again', async () => {
    const odb = await open({ timeoutMs: 2000, connectTimeoutMs: 1000 });
    const keys = Array.from({ length: 400 }, (_, i) => `crash ${i}`);
    let done = 0;
    let refused = 0;
    const { open: half, opened: halfway } = gate();
    const asking = Array.from({ length: 8 }, async (_, i) => {
      for (let k = i; k < keys.length; k += 8) {
        await untilDone(odb, keys[k] as string, 1, () => refused++);
        if (++done === 150) half();
      }
    });
    await halfway;
    await engine().kill();
    await engine().start();
    await Promise.all(asking);
    expect(refused, 'askings that were refused').to.be.at.least(1);
    expect((await rows('crash %')).map((row) => row['id'] as string).toSorted()).to.deep.equal(keys.toSorted());
  });
}

/** Asked for again as long as the database is not available. */
async function untilDone(odb: Odb, key: string, n: number, refused = () => {}): Promise<{ first: boolean }> {
  while (true) {
    try {
      return await odb.once(key, (run) => run(INSERT, [key, n]));
    } catch (error) {
      expect(error).to.include({ code: 'ODB_UNAVAILABLE' });
      refused();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
