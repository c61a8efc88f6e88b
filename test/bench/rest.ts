import { isDeepStrictEqual } from 'node:util';
import { usage } from './child.ts';
import { Client, type Driven } from './client-process.ts';
import { CONTESTANTS, type Contestant, isContestant } from './contestants.ts';
import { type Spread, shown, spread } from './figures.ts';
import type { Server } from './gantry.ts';
import type { Options } from './options.ts';
import type { Goal, Section } from './table.ts';
import { accept, BODY, ORDER, ROUTES } from './work.ts';

/** A server under full load uses a core whole, or nearly. */
const FULL = 0.9;

interface Window extends Driven {
  readonly perSecond: number;
  /** Requests for each second of processor time that the server used. */
  readonly perCpuSecond: number;
  readonly cpuUs: number;
  /** Cores that the server used. */
  readonly serverCpu: number;
  readonly rssMb: number;
}

/** All servers at once, idle but for the one that is asked; the rounds go through them in turn. */
export async function rest(options: Options): Promise<Section> {
  const names = chosen(options.servers);
  const servers: Server[] = [];
  const client = await Client.start();
  for (const name of names) servers.push(await CONTESTANTS[name].start());
  const rounds: Window[][] = [];
  for (const server of servers) await warmUp(client, server, options);
  for (let round = 0; round < options.rounds; round++) {
    const windows = new Array<Window>(servers.length);
    // There and back again: what else the machine does at regular times must not always meet the same server.
    const order = round % 2 === 0 ? [...servers.entries()] : [...servers.entries()].reverse();
    for (const [i, server] of order) windows[i] = await measure(client, server, options);
    rounds.push(windows);
    process.stderr.write(`   round ${round + 1} of ${options.rounds}\n`);
  }
  await Promise.all([client.stop(), ...servers.map(({ child }) => child.stop())]);
  return section(names, rounds, options);
}

function chosen(given: readonly string[]): readonly Contestant[] {
  const all = Object.keys(CONTESTANTS).filter(isContestant);
  if (given.length === 0) return all;
  const wrong = given.find((name) => !isContestant(name));
  if (wrong !== undefined) throw new Error(`There is no server '${wrong}'; there are ${all.join(', ')}`);
  return all.filter((name) => given.includes(name));
}

async function warmUp(client: Client, { name, port, paths }: Server, options: Options): Promise<void> {
  const { body } = await client.drive({ port, paths, connections: options.connections, seconds: options.seconds });
  if (isDeepStrictEqual(JSON.parse(body), accept(ORDER))) return;
  throw new Error(`${name} gave another answer than the others: ${body}`);
}

async function measure(client: Client, { port, paths, child }: Server, options: Options): Promise<Window> {
  const before = usage(child.pid);
  const driven = await client.drive({ port, paths, connections: options.connections, seconds: options.seconds });
  const after = usage(child.pid);
  const cpuMs = after.cpuMs - before.cpuMs;
  return {
    ...driven,
    perSecond: driven.requests / driven.seconds,
    perCpuSecond: driven.requests / (cpuMs / 1000),
    cpuUs: (cpuMs * 1000) / driven.requests,
    serverCpu: cpuMs / 1000 / driven.seconds,
    rssMb: after.rssMb,
  };
}

function section(names: readonly Contestant[], rounds: readonly Window[][], options: Options): Section {
  const over = (of: Contestant, what: (window: Window) => number) =>
    spread(rounds.map((windows) => what(windows[names.indexOf(of)] as Window)));
  const ratio = (of: Contestant, to: Contestant, what: 'perSecond' | 'perCpuSecond') =>
    spread(rounds.map((w) => (w[names.indexOf(of)] as Window)[what] / (w[names.indexOf(to)] as Window)[what]));
  const rates = names.map((name) => [
    CONTESTANTS[name].title,
    shown(
      over(name, (w) => w.perSecond),
      0,
    ),
    shown(
      over(name, (w) => w.cpuUs),
      1,
    ),
    over(name, (w) => w.p50Ms).median.toFixed(2),
    over(name, (w) => w.p99Ms).median.toFixed(2),
    over(name, (w) => w.rssMb).max.toFixed(0),
    percent(over(name, (w) => w.serverCpu)),
    percent(over(name, (w) => w.clientCpu)),
  ]);
  const against = (to: Contestant) =>
    names.includes(to)
      ? [
          {
            title: `Against ${CONTESTANTS[to].title}: the ratio in each round, median (least..most); above 1 is better`,
            head: ['server', 'requests/s', 'requests per CPU second'],
            rows: names.map((name) => [
              CONTESTANTS[name].title,
              shown(ratio(name, to, 'perSecond')),
              shown(ratio(name, to, 'perCpuSecond')),
            ]),
          },
        ]
      : [];
  return {
    title: 'REST: the same work by five servers',
    about: [
      `POST of ${Buffer.byteLength(BODY)} bytes of JSON to one of ${ROUTES} routes in turn, answer of ${Buffer.byteLength(JSON.stringify(accept(ORDER)))} bytes.`,
      'Each server reads the body with a size limit, compares an API key in constant time, checks the input and the output',
      'against the same JSON schemas, makes a correlation id and returns it, and keeps counts and latencies.',
      `${options.rounds} rounds of ${options.seconds} s each through all servers, there and back again, after a warm-up; ${options.connections} keep-alive connections, one request in flight on each.`,
      'Trust the CPU per request (user and system time of the server process): wall-clock figures of a shared machine jitter.',
    ],
    tables: [
      {
        title: 'Figures: median (least..most)',
        head: ['server', 'requests/s', 'CPU us/request', 'p50 ms', 'p99 ms', 'RSS MB', 'server CPU', 'client CPU'],
        rows: rates,
      },
      ...against('node-http'),
      ...against('fastify'),
    ],
    goals: [...goal('fastify', 1), ...goal('node-http', 0.85)],
  };

  /** Other work took processor time away: then requests/s tell who was lucky. */
  function doubt(): string {
    const least = Math.min(...names.map((name) => over(name, (w) => w.serverCpu).median));
    return least < FULL ? `, in doubt: a server got only ${Math.round(least * 100)} % of a core` : '';
  }

  function goal(to: Contestant, least: number): Goal[] {
    if (!names.includes('gantry') || !names.includes(to)) return [];
    return (['perCpuSecond', 'perSecond'] as const).map((what) => {
      const measured = ratio('gantry', to, what);
      const unit = what === 'perSecond' ? 'requests/s' : 'requests per CPU second';
      const text = `Gantry has at least ${least.toFixed(2)} x the ${unit} of ${CONTESTANTS[to].title}`;
      return { text, measured: shown(measured) + (what === 'perSecond' ? doubt() : ''), met: measured.median >= least };
    });
  }
}

function percent({ median }: Spread): string {
  return `${(median * 100).toFixed(0)} %`;
}
