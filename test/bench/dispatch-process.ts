/** The process of the dispatch bench: a kernel without a network, and the floor beside it. */
import type { Plugin, Reply } from '../../core/api.ts';
import { Call, defineService, Type } from '../../core/api.ts';
import type { Loaded } from '../../core/kernel/plugin.ts';
import { Logs } from '../../core/log/log.ts';
import type { Channel, Transport } from '../../core/ports/index.ts';
import { Process } from '../../core/process.ts';
import codecJson from '../../plugins/codec-json/index.ts';
import guardApikey from '../../plugins/guard-apikey/index.ts';
import statsMemory from '../../plugins/stats-memory/index.ts';
import { isOrder } from './servers/checks.ts';
import { accept, BODY, KEY, KEY_HEADER, Order, Receipt } from './work.ts';

export type Timed = readonly { readonly name: string; readonly us: readonly number[]; readonly goal: boolean }[];

const body = Buffer.from(BODY);
const headers = { [KEY_HEADER]: KEY };

interface Kind {
  readonly name: string;
  readonly goal?: true;
  readonly output?: boolean;
  readonly plugins?: readonly Plugin[];
  readonly security?: object;
}

const KINDS: readonly Kind[] = [
  { name: 'dispatch, input checked' },
  { name: 'dispatch, input and output checked', output: true, goal: true },
  { name: '  the same with statistics', output: true, plugins: [statsMemory as unknown as Plugin] },
  {
    name: '  the same with statistics and an API key',
    output: true,
    plugins: [statsMemory as unknown as Plugin, guardApikey as unknown as Plugin],
    security: { guard: 'apikey', header: KEY_HEADER, keys: [{ name: 'bench', key: KEY }] },
  },
];

/** A channel that nothing but this process can reach. */
async function channelOf({ output = false, plugins = [], security }: Kind): Promise<Channel> {
  const bound: Channel[] = [];
  const transport: Transport = {
    supports: { reply: true, headers: true, largeBody: true },
    address: Type.Object({}),
    bind: (channel) => void bound.push(channel),
    unbind() {},
  };
  const own = { id: 'transport.bench', api: 1, config: Type.Object({}), create: () => transport } as unknown as Plugin;
  const loaded = [codecJson as unknown as Plugin, ...plugins, own].map(
    (plugin): Loaded => ({ id: plugin.id, plugin, config: {} }),
  );
  const kernel = new Process({ logs: new Logs({ level: 'silent' }) }).create(loaded);
  kernel.deploy([
    defineService({ name: 'order', input: Order, output: output ? Receipt : Type.Unknown(), create: () => accept }),
  ]);
  const definition = { name: 'orders', transport: 'bench', address: {}, service: 'order' };
  const channels = [security === undefined ? definition : { ...definition, security }] as never;
  await kernel.start({ channels });
  return bound[0] as Channel;
}

async function floor(): Promise<string> {
  const order: unknown = JSON.parse(body.toString());
  if (!isOrder(order)) throw new Error('The order is not valid');
  return JSON.stringify(await accept(order));
}

async function time(run: () => Promise<unknown>, calls: number): Promise<number> {
  const startedAt = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) await run();
  return Number(process.hrtime.bigint() - startedAt) / 1000 / calls;
}

async function measure(rounds: number, calls: number): Promise<Timed> {
  const rows: { name: string; goal: boolean; us: number[]; run: () => Promise<unknown> }[] = [
    { name: 'floor: parse, check, handle, stringify', goal: false, us: [], run: floor },
  ];
  for (const kind of KINDS) {
    const channel = await channelOf(kind);
    const run = (): Promise<Reply> => channel.run(new Call('orders', { body, headers }));
    const { error } = await run();
    if (error !== null) throw error;
    rows.push({ name: kind.name, goal: kind.goal === true, us: [], run });
  }
  for (const { run } of rows) await time(run, calls);
  for (let round = 0; round < rounds; round++) for (const { run, us } of rows) us.push(await time(run, calls));
  return rows.map(({ name, goal, us }) => ({ name, goal, us }));
}

process.on('message', ({ rounds, calls }: { rounds: number; calls: number }) => {
  measure(rounds, calls).then(
    (timed) => process.send?.(timed),
    (error: Error) => {
      process.stderr.write(`${error.stack}\n`);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
