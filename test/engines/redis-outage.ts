/** For tests of what happens when Redis is away: servers on it, processes of their own, and what must hold meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Bus } from '../../core/ports/bus.ts';
import type { Kv } from '../../core/ports/kv.ts';
import { Process } from '../../core/process.ts';
import { type RedisProcess, type RedisSettings, startRedis } from './redis.ts';

export interface Line {
  readonly level: string;
  readonly msg: string;
  readonly plugin: string;
  readonly why?: string;
  readonly error?: { readonly message: string; readonly hint?: string };
}
export interface Served {
  readonly kernel: Process;
  readonly kv: Kv;
  readonly bus: Bus;
  /** Of the log, of the plugin, without what is for debugging. */
  lines(): Line[];
  debugged(): Line[];
}

/** Servers with one plugin, and processes of Redis; all of them end with each test. To be called within a describe. */
export function worlds(plugin: Plugin, access: () => object = () => ({})) {
  const kernels: Process[] = [];
  const started: RedisProcess[] = [];
  const created = (config: object): Served => {
    const written: string[] = [];
    const logs = new Logs({ level: 'debug', to: { write: (line: string) => void written.push(line) } });
    const kernel = new Process({ logs, graceMs: 1000, name: 'server 1' });
    kernel.create([{ id: plugin.id, plugin, config: { ...config } }]);
    kernels.push(kernel);
    const all = () => written.map((line) => JSON.parse(line) as Line).filter((line) => line.plugin === plugin.id);
    return {
      kernel,
      get kv() {
        return kernel.cradle.kv;
      },
      get bus() {
        return kernel.cradle.bus;
      },
      lines: () => all().filter(({ level }) => level !== 'debug'),
      debugged: () => all().filter(({ level }) => level === 'debug'),
    };
  };
  const serve = async (config: object = access()): Promise<Served> => {
    const one = created(config);
    await one.kernel.start();
    return one;
  };
  /** One of its own, for what would disturb others. */
  const processes = async (settings?: RedisSettings): Promise<RedisProcess> => {
    const own = await startRedis(settings);
    started.push(own);
    return own;
  };
  afterEach(async () => {
    await Promise.all(kernels.splice(0).map((kernel) => kernel.stop()));
    await Promise.all(started.splice(0).map((own) => own.close()));
  });
  return { created, serve, processes };
}

export async function unavailable(doing: Promise<unknown>): Promise<{ readonly hint?: string }> {
  const error = await doing.then(
    (value) => new Error(`It gave ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  expect(error, String(error)).to.include({ code: 'KV_UNAVAILABLE', retryable: true });
  return error as { hint?: string };
}

export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; !(await holds()); await sleep(10)) {
    if (Date.now() > end) throw new Error('It did not come about in 20 s');
  }
}

/**
 * Counts, each time in a field of its own, from many at once, while something is done to Redis: what was answered was
 * done, and nothing was done twice. Where acknowledged writes may be lost, as in a fail-over, only the latter.
 */
export async function counting(
  kv: Kv,
  disturb: (enough: () => Promise<void>) => Promise<void>,
  { mayLose = false }: { mayLose?: boolean } = {},
): Promise<void> {
  let [last, broken, counts] = [0, 0, true];
  const answered: string[] = [];
  const work = async () => {
    while (counts) {
      const field = String(++last);
      await kv.hashIncrement('counts', field).then(
        () => answered.push(field),
        async () => {
          broken++;
          await sleep(5);
        },
      );
    }
  };
  const working = Promise.all(Array.from({ length: 10 }, work));
  await disturb(async () => {
    const before = answered.length;
    await eventually(() => answered.length > before + 200);
  }).finally(() => {
    counts = false;
  });
  await working;
  let counted: Readonly<Record<string, string>> = {};
  await eventually(() =>
    kv.hashAll('counts').then(
      (all) => {
        counted = all;
        return true;
      },
      () => false,
    ),
  );
  expect(broken, 'some broke').to.be.greaterThan(0);
  const twice = Object.entries(counted).filter(([, times]) => times !== '1');
  expect(twice, 'done twice').to.deep.equal([]);
  const lost = answered.filter((field) => counted[field] === undefined);
  if (!mayLose) expect(lost, 'answered and not done').to.deep.equal([]);
}
