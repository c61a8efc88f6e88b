import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { countBy } from '../../figures.ts';
import { type Check, strict } from '../../outcome.ts';
import { grouped, keyOf, overlaps } from '../judge.ts';
import type { Line } from '../lines.ts';
import { effectsOf, type Row, rowsOf } from '../rows.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import { underWay } from '../trial.ts';
import type { JobServer, JobsWorld } from '../world.ts';

const RUN_MS = 300;
const SETTLE_MS = 90_000;
/** Every twentieth cannot be done before something is mended. */
const BROKEN = 20;
const ATTEMPTS = 10;
const BROKEN_ATTEMPTS = 2;

/** What became of one request. */
interface Asked {
  readonly id: string;
  readonly broken: boolean;
  /** Null: it was not acknowledged. */
  readonly token: string | null;
}

/** Durable calls while servers are killed: what was acknowledged is done. */
export const jobsDurable: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, times: 10, rate: 20 },
  short: { ...TERMS, times: 1, rate: 20 },
  async run(world, terms) {
    rmSync(world.mendedFile, { force: true });
    const caller = new Caller(world, terms.rate);
    caller.start();
    let killed = 0;
    for (let i = 0; i < terms.times; i++) {
      await wait(2000);
      // The holder and the others in turn: durable calls are run by all of them.
      const server = world.servers[i % world.servers.length] as JobServer;
      await until(`${server.name} runs calls`, () => running(world, server).length > 0);
      killed += running(world, server).length;
      await world.kill(server);
      await wait(1500);
      await server.keeper.start();
    }
    await wait(2000);
    const asked = await caller.stop();
    const kept = asked.filter(({ token }) => token !== null);
    const own = () => callLines(world).filter(({ id }) => id?.startsWith(caller.name));
    const rows = async () => {
      // Of some nobody was told that they are kept.
      const tokens = new Set([...kept, ...own()].map(({ token }) => token));
      return (await rowsOf(world.database, 'calls')).filter(({ token }) => tokens.has(token));
    };
    const isOver = async () => (await rows()).every(({ outcome }) => outcome !== null);
    await until('every call has come to its end', isOver, SETTLE_MS, 500).catch(() => {});
    const evidence = { kept, rows: await rows(), lines: own(), effects: await effectsOf(world.database) };
    const dead = evidence.rows.filter((row) => row.dead);
    const mended = await mend(world, dead);
    return {
      title: `durable calls, ${terms.rate} a second, while servers are killed ${terms.times} times`,
      about: [
        `${asked.length} calls, ${kept.length} acknowledged; in hand on servers that were killed: ${killed}`,
        ...toldOf(evidence),
        `dead letters: ${dead.length}; replayed when it was mended, and done: ${mended}`,
      ],
      tables: [],
      checks: [
        ...checksOf(evidence, world),
        strict('calls were in hand on servers that were killed', killed >= terms.times, killed),
        ...ofTheDead(dead, evidence),
        strict('replayed when it is mended, every one is done', mended === dead.length, `${mended} of ${dead.length}`),
      ],
    };
  },
};

interface Evidence {
  readonly kept: readonly Asked[];
  readonly rows: readonly Row[];
  readonly lines: readonly Line[];
  readonly effects: ReadonlyMap<string, number>;
}

function checksOf({ kept, rows, lines, effects }: Evidence, world: JobsWorld): Check[] {
  const good = kept.filter(({ broken }) => !broken);
  const ended = new Set(lines.filter(({ event }) => event === 'end').map(({ token }) => token));
  const undone = good.filter(({ token }) => !ended.has(token as string));
  const unsaid = good.filter(({ token }) => !rows.some((row) => row.token === token && row.outcome === 'succeeded'));
  const twice = [...effects].filter(([, count]) => count > 1);
  const without = good.filter(({ token }) => effects.get(token as string) !== 1);
  const starts = lines.filter(({ event }) => event === 'start');
  const repeated = [...grouped(starts, keyOf).values()].filter(({ length }) => length > 1);
  const recorded = new Set(rows.map(keyOf));
  const together = [...grouped(starts, ({ token }) => token).values()].flatMap((own) =>
    overlaps(own, lines, world.absences),
  );
  const of = good.length;
  return [
    strict(
      'every acknowledged call was run to its end',
      undone.length === 0 && of > 0,
      `${of - undone.length} of ${of}`,
    ),
    strict('and its row says so', unsaid.length === 0, `${of - unsaid.length} of ${of}`),
    strict(
      'each has one effect',
      twice.length === 0 && without.length === 0,
      `${of - without.length} of ${of}, ${twice.length} with two`,
    ),
    strict('no attempt was started twice', repeated.length === 0, repeated.length),
    strict(
      'nothing was started without a row',
      starts.every((start) => recorded.has(keyOf(start))),
      starts.length,
    ),
    strict('never two attempts of a call at once', together.length === 0, together.slice(0, 3).join('; ') || 0),
  ];
}

function toldOf({ kept, rows, lines }: Evidence): string[] {
  const starts = lines.filter(({ event }) => event === 'start');
  const good = new Set(kept.filter(({ broken }) => !broken).map(({ token }) => token));
  const perToken = [...grouped(starts, ({ token }) => token)].filter(([token]) => good.has(token));
  const counts = countBy(perToken, ([, own]) => String(own.length));
  const began = Object.entries(counts).map(([times, count]) => `${count} x ${times}`);
  const where = countBy(starts, ({ server }) => server);
  return [
    `begun, by how often: ${began.join(', ')}; by ${Object.entries(where)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ')}`,
    `attempts by outcome: ${Object.entries(countBy(rows, ({ outcome }) => outcome ?? 'none'))
      .map(([name, n]) => `${n} ${name}`)
      .join(', ')}`,
  ];
}

/** How many of the dead ones are done when they are replayed. */
async function mend(world: JobsWorld, dead: readonly Row[]): Promise<number> {
  if (dead.length === 0) return 0;
  writeFileSync(world.mendedFile, '');
  await world.admin.call('run.replay', { tokens: dead.map(({ token }) => token) });
  const done = async () => {
    const rows = await rowsOf(world.database, 'calls');
    return dead.filter(({ token }) => rows.some((row) => row.token === token && row.outcome === 'succeeded')).length;
  };
  await until('all are done', async () => (await done()) === dead.length, SETTLE_MS, 250).catch(() => {});
  return done();
}

function callLines(world: JobsWorld): readonly Line[] {
  return world.lines().filter(({ source }) => source === 'call');
}
function running(world: JobsWorld, { keeper }: JobServer): readonly Line[] {
  return underWay(callLines(world).filter(({ pid }) => pid === keeper.pid));
}

/** Those that could not be done, and no others. */
function ofTheDead(dead: readonly Row[], { kept, lines }: Evidence): Check[] {
  const tokens = new Set(dead.map(({ token }) => token));
  const broken = kept.filter((one) => one.broken);
  const forgotten = broken.filter(({ token }) => !tokens.has(token as string));
  const ids = new Map(lines.map(({ token, id = '' }) => [token, id]));
  const wrong = dead.filter(({ token }) => !isBroken(Number(ids.get(token)?.split('-')[1])));
  return [
    strict(
      'every call that could not be done is a dead letter',
      forgotten.length === 0 && broken.length > 0,
      `${broken.length - forgotten.length} of ${broken.length}`,
    ),
    strict('and no other one', wrong.length === 0, `${wrong.length} of ${dead.length}`),
  ];
}
function isBroken(nth: number): boolean {
  return nth % BROKEN === 0;
}

/** Calls at a rate, each to the next server; one that gets no answer is not repeated. */
class Caller {
  readonly #world: JobsWorld;
  readonly #everyMs: number;
  readonly #asked: Promise<Asked>[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Of calls of this caller. */
  readonly name = `c${Date.now().toString(36)}`;

  constructor(world: JobsWorld, rate: number) {
    this.#world = world;
    this.#everyMs = 1000 / rate;
  }

  start(): void {
    this.#timer = setInterval(() => this.#asked.push(this.#ask(this.#asked.length)), this.#everyMs);
  }
  stop(): Promise<readonly Asked[]> {
    clearInterval(this.#timer);
    return Promise.all(this.#asked);
  }

  async #ask(nth: number): Promise<Asked> {
    const { servers } = this.#world;
    const { url } = servers[nth % servers.length] as JobServer;
    const id = `${this.name}-${nth}`;
    const broken = isBroken(nth);
    const body = JSON.stringify({ id, forMs: RUN_MS, broken, attempts: broken ? BROKEN_ATTEMPTS : ATTEMPTS });
    const headers = { 'content-type': 'application/json' };
    try {
      const response = await fetch(`${url}/jobs/accept`, {
        method: 'POST',
        headers,
        body,
        signal: AbortSignal.timeout(30_000),
      });
      const { token } = (await response.json()) as { token?: string };
      return { id, broken, token: response.status === 200 ? (token ?? null) : null };
    } catch {
      return { id, broken, token: null };
    }
  }
}
