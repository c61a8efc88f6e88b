import { type AdminServer, applying, CALLERS, channelRecords, startAdminServer } from './admin-server.ts';
import type { Worked } from './changer.ts';
import { Changer } from './changer-process.ts';
import { CONNECTION, connection, LANES, LEAST, mix } from './changes.ts';
import { usage } from './child.ts';
import { Client, type Driven, type Wanted } from './client-process.ts';
import { shown, spread } from './figures.ts';
import type { Options } from './options.ts';
import type { Goal, Section } from './table.ts';
import { paths } from './work.ts';

const PER_SECOND = 100;
const OTHERS = 5000;
const MOST = 1.5;
/** Than a window of other benches: those with changes are long, and one disturbance must not make all of the quiet one. */
const LONGER = 3;
/** A server under full load uses a core whole, or nearly. */
const FULL = 0.9;
/** Each takes a minute where a change takes 30 ms. */
const MOST_ROUNDS = 3;

const KINDS = ['quiet', 'paced', 'fast'] as const;
type Kind = (typeof KINDS)[number];
const BUSY = ['paced', 'fast'] as const;
const TITLES: Readonly<Record<Kind, string>> = {
  quiet: 'quiet',
  paced: `at most ${PER_SECOND} changes a second`,
  fast: 'as fast as it goes',
};

interface Window {
  readonly load: Driven;
  /** Null in a quiet one. */
  readonly changes: Worked | null;
  /** Cores that the server used. */
  readonly serverCpu: number;
}
type Round = Readonly<Record<Kind, Window>>;

interface Scene {
  readonly server: AdminServer;
  readonly client: Client;
  readonly changer: Changer;
  readonly load: Wanted;
  readonly changes: number;
}

/** Latency of one channel while the admin API changes what it and the server run with, against latency when nothing does. */
export async function live(options: Options): Promise<Section> {
  const { seconds, connections, quick } = options;
  const rounds = Math.min(options.rounds, MOST_ROUNDS);
  const others = quick ? OTHERS / 10 : OTHERS;
  const server = await startAdminServer('gantry-live');
  const client = await Client.start();
  const changer = await Changer.start();
  const path = '/shop/v1/orders';
  await server.administrator.call({ service: 'connection.create', input: connection });
  await server.administrator.call(applying(channelRecords('loaded', [path], { shared: true })));
  await server.administrator.call(applying(channelRecords('other', paths(others), { shared: true })));
  const load = { port: server.port, paths: [path], connections, seconds: seconds * LONGER };
  const scene: Scene = { server, client, changer, load, changes: quick ? LEAST * 5 : LEAST * 25 };
  await client.drive(load);
  await changing({ ...scene, changes: LEAST * 5 }, 'warm', null);
  const all: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const windows: Partial<Record<Kind, Window>> = {};
    const order = round % 2 === 0 ? KINDS : [...KINDS].reverse();
    for (const kind of order) {
      const before = usage(server.child.pid).cpuMs;
      const window =
        kind === 'quiet'
          ? { load: await client.tally({ ...load, goOn: true }), changes: null }
          : await changing(scene, `${kind}${round}`, kind === 'paced' ? PER_SECOND : null);
      const cpuMs = usage(server.child.pid).cpuMs - before;
      windows[kind] = { ...window, serverCpu: cpuMs / 1000 / window.load.seconds };
    }
    all.push(windows as Round);
    process.stderr.write(`   round ${round + 1} of ${rounds}\n`);
  }
  await Promise.all([client.stop(), changer.stop(), server.stop()]);
  return section(all, scene.changes, others);
}

/** The load lasts as long as the changes do. */
async function changing({ server, client, changer, load, changes }: Scene, window: string, perSecond: number | null) {
  const version = async (kind: string, name: string) =>
    (await server.administrator.call<{ version: number }>({ service: `${kind}.get`, input: { name } })).version;
  const from = {
    window,
    security: await version('security', CALLERS),
    connection: await version('connection', CONNECTION),
  };
  const work = { port: server.port, authorization: server.token, lanes: mix(changes, from) };
  const loading = client.tally({ ...load, seconds: Number.MAX_SAFE_INTEGER, goOn: true });
  const worked = await changer.tally(perSecond === null ? work : { ...work, perSecond });
  client.end();
  return { load: await loading, changes: worked };
}

function section(rounds: readonly Round[], changes: number, others: number): Section {
  const cell = (kind: Kind, digits: number, what: (load: Driven) => number) =>
    shown(spread(rounds.map((one) => what(one[kind].load))), digits);
  const made = (kind: Kind, digits: number, what: (changes: Worked) => number) =>
    shown(spread(rounds.flatMap((one) => one[kind].changes ?? []).map(what)), digits);
  const ratio = (kind: Kind) => spread(rounds.map((one) => one[kind].load.p99Ms / one.quiet.load.p99Ms));
  const cpu = (kind: Kind) => spread(rounds.map((one) => one[kind].serverCpu)).median;
  const least = Math.min(...KINDS.map(cpu));
  const doubt = least < FULL ? `, in doubt: the server got only ${Math.round(least * 100)} % of a core` : '';
  const count = changes.toLocaleString('en');
  return {
    title: 'Live: latency while the configuration changes',
    about: [
      `The load of the REST bench on one channel, a record like ${others.toLocaleString('en')} others that nobody calls, on a server with all that`,
      `config/base.yaml has. In two of three windows ${count} changes go through the admin API meanwhile, by ${LANES} administrators at once in`,
      'a process of their own: six create channels, move, switch off, switch on and remove them, one updates the security',
      'definition of the loaded channel, one a connection. A change is answered when it is in effect. The windows go there and',
      'back again, and the ratios are taken within a round. The administrators share a core with the client.',
    ],
    tables: [
      {
        title: 'Calls of the channel: median (least..most)',
        head: ['window', 'requests/s', 'p50 ms', 'p99 ms', 'longest ms', 'p99 x quiet', 'server CPU', 'failed'],
        rows: KINDS.map((kind) => [
          TITLES[kind],
          cell(kind, 0, ({ requests, seconds }) => requests / seconds),
          cell(kind, 2, ({ p50Ms }) => p50Ms),
          cell(kind, 2, ({ p99Ms }) => p99Ms),
          cell(kind, 0, ({ maxMs }) => maxMs),
          shown(ratio(kind)),
          `${(cpu(kind) * 100).toFixed(0)} %`,
          String(sum(rounds.map((one) => one[kind].load.refused))),
        ]),
      },
      {
        title: 'Changes: median (least..most)',
        head: ['window', 'changes/s', 'p50 ms', 'p99 ms', 'failed', 'in effect later'],
        rows: BUSY.map((kind) => [
          TITLES[kind],
          made(kind, 0, ({ calls, seconds }) => calls / seconds),
          made(kind, 1, ({ p50Ms }) => p50Ms),
          made(kind, 1, ({ p99Ms }) => p99Ms),
          String(sum(rounds.map((one) => one[kind].changes?.failed ?? 0))),
          String(sum(rounds.map((one) => one[kind].changes?.notLive ?? 0))),
        ]),
      },
    ],
    goals: [
      ...BUSY.map((kind): Goal => {
        const text = `p99 with ${count} changes, ${TITLES[kind]}, is at most ${MOST} x the quiet one`;
        return { text, measured: shown(ratio(kind)) + doubt, met: ratio(kind).median <= MOST };
      }),
      ...failures(rounds),
    ],
  };
}

function failures(rounds: readonly Round[]): Goal[] {
  const windows = rounds.flatMap((one) => BUSY.map((kind) => one[kind]));
  const calls = windows.map(({ load }) => ({ failed: load.refused, of: load.requests, first: load.refusal }));
  const changes = windows.flatMap(({ changes: all }) =>
    all === null ? [] : { failed: all.failed, of: all.calls, first: all.failure },
  );
  const goal = (text: string, all: typeof calls): Goal => {
    const failed = sum(all.map((one) => one.failed));
    const first = all.find((one) => one.failed > 0)?.first;
    const of = sum(all.map((one) => one.of)).toLocaleString('en');
    return {
      text,
      measured: `${failed} of ${of}${first === undefined ? '' : `; the first: ${first}`}`,
      met: failed === 0,
    };
  };
  return [
    goal('No call of the channel fails while the configuration changes', calls),
    goal('No change fails under load', changes),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}
