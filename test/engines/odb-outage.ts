import { expect } from 'chai';
import { isGantryError } from '../../core/errors.ts';
import type { Change, Odb } from '../../core/ports/odb.ts';
import type { OdbServer } from '../kit/odb-world.ts';
import type { Engine } from './engine.ts';
import { openServer } from './odb-plugins.ts';

export interface Outage {
  readonly dialect: string;
  readonly engine: () => Engine;
  /** For a fresh database. */
  config(): Promise<Readonly<Record<string, unknown>>>;
  /** How many connections the server has that are Gantry's. */
  readonly countSql: string;
}

const TIMEOUT_MS = 1000;
const MAX = 4;
/** What an operation may take on a busy machine beyond the time that it is given. */
const SLACK_MS = 2000;
const by = { name: 'the test' };

/** The engine goes away under use, and comes back. */
export function testOutage({ dialect, engine, config, countSql }: Outage): void {
  describe('an engine that goes away', () => {
    const servers: OdbServer[] = [];
    const open = async () => {
      const block = { ...(await config()), pool: { max: MAX, acquireMs: 800 }, connectTimeoutMs: 500 };
      const server = await openServer(dialect, block, { timeoutMs: TIMEOUT_MS, connectTimeoutMs: 1000 });
      servers.push(server);
      return server.odb;
    };
    afterEach(async () => {
      engine().thaw();
      await engine().start();
      for (const server of servers.splice(0)) await server.stop();
    });

    for (const [what, leave, comeBack] of [
      ['is stopped', () => engine().stop(), () => engine().start()],
      ['crashes', () => engine().kill(), () => engine().start()],
      ['stands still', async () => engine().freeze(), async () => engine().thaw()],
    ] as const) {
      it(`${what} under use: refuses in time, loses nothing that it acknowledged, and mends itself`, async function () {
        this.timeout(60_000);
        const odb = await open();
        const use = new Use(odb);
        await use.until(() => use.written.size >= 50 && use.read >= 20);
        await leave();
        await use.until(() => use.refused >= 20 && odb.problem !== null);
        await comeBack();
        await mended(odb);
        const so = use.written.size;
        await use.until(() => use.written.size >= so + 50);
        await use.end();
        expect(use.strange, 'other errors than ODB_UNAVAILABLE').to.deep.equal([]);
        expect(use.slowestMs, 'the longest wait for an answer').to.be.below(TIMEOUT_MS + SLACK_MS);
        await wholeAndInOrder(odb, use);
        expect(odb.problem).to.equal(null);
      });
    }

    it('stands still for longer than the time of an operation: no connection of that time is in the way', async function () {
      this.timeout(60_000);
      const odb = await open();
      const ask = () => Promise.allSettled(Array.from({ length: 3 * MAX }, () => odb.find('k', 'n')));
      await ask();
      engine().freeze();
      for (let i = 0; i < 2; i++) {
        for (const one of await ask()) expect(one).to.deep.include({ status: 'rejected' });
      }
      engine().thaw();
      await mended(odb);
      for (const one of await ask()) expect(one).to.deep.include({ status: 'fulfilled' });
      const [row] = await engine().admin(countSql);
      expect(Number(row?.['n']), 'connections').to.be.at.most(MAX);
    });

    for (const [what, leave, comeBack] of [
      ['is stopped', () => engine().stop(), () => engine().start()],
      ['stands still', async () => engine().freeze(), async () => engine().thaw()],
    ] as const) {
      it(`${what} when the server starts: it starts, refuses, and serves once the engine is there`, async function () {
        this.timeout(60_000);
        const block = config();
        await block;
        await leave();
        const server = await openServer(
          dialect,
          { ...(await block), connectTimeoutMs: 500 },
          { timeoutMs: TIMEOUT_MS, connectTimeoutMs: 1000 },
        );
        servers.push(server);
        expect(server.odb.problem).to.include({ code: 'ODB_UNAVAILABLE' });
        const refusal: unknown = await server.odb.revision().catch((error: unknown) => error);
        expect(refusal).to.include({ code: 'ODB_UNAVAILABLE', kind: 'unavailable' });
        await comeBack();
        await mended(server.odb);
        expect(await server.odb.revision()).to.equal(0);
      });
    }
  });
}

/** Four who write and two who read, again and again. */
class Use {
  readonly #odb: Odb;
  readonly #ended: Promise<unknown>;
  readonly #watch = new Set<() => void>();
  #on = true;
  /** Acknowledged: the revision of each name. */
  readonly written = new Map<string, number>();
  readonly strange: string[] = [];
  read = 0;
  refused = 0;
  slowestMs = 0;

  constructor(odb: Odb) {
    this.#odb = odb;
    const writers = Array.from({ length: 4 }, (_, i) => this.#again((n) => this.#write(`${i}-${n}`)));
    const readers = Array.from({ length: 2 }, () => this.#again(() => this.#read()));
    this.#ended = Promise.all([...writers, ...readers]);
  }

  /** Resolves as soon as it is so. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isSo()) return;
        this.#watch.delete(look);
        resolve();
      };
      this.#watch.add(look);
      look();
    });
  }

  async end(): Promise<void> {
    this.#on = false;
    await this.#ended;
  }

  async #again(work: (n: number) => Promise<void>): Promise<void> {
    for (let n = 0; this.#on; n++) {
      const began = performance.now();
      try {
        await work(n);
      } catch (error) {
        this.refused++;
        if (!isGantryError(error) || error.code !== 'ODB_UNAVAILABLE') this.strange.push(String(error));
        // One that is refused at once would else be refused thousands of times.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
      for (const look of this.#watch) look();
    }
  }
  async #write(name: string): Promise<void> {
    const [done] = await this.#odb.write([{ action: 'create', kind: 'use', name, body: { name } }], by);
    this.written.set(name, done?.revision ?? 0);
  }
  async #read(): Promise<void> {
    await this.#odb.list('use', { limit: 10 });
    this.read++;
  }
}

/** Asking is what mends it. */
async function mended(odb: Odb): Promise<void> {
  while (
    await odb.revision().then(
      () => false,
      () => true,
    )
  ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(odb.problem).to.equal(null);
}

/** Each change has the next revision, and each that was acknowledged is there, once. */
async function wholeAndInOrder(odb: Odb, use: Use): Promise<void> {
  const changes: Change[] = [];
  for (let more = true; more; ) {
    const some = await odb.changes(changes.length, 1000);
    changes.push(...some);
    more = some.length > 0;
  }
  expect(changes.map((c) => c.revision)).to.deep.equal(changes.map((_, i) => i + 1));
  const logged = new Map(changes.map((c) => [c.name, c.revision]));
  expect(logged.size).to.equal(changes.length);
  for (const [name, revision] of use.written) expect(logged.get(name), name).to.equal(revision);
  const { records, revision } = await odb.load(['use']);
  expect(records.map((r) => r.name).toSorted()).to.deep.equal([...logged.keys()].toSorted());
  expect(revision).to.equal(changes.length);
}
