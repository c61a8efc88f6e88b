/** The administrators' process: it gets calls of the admin API by IPC, makes them, and answers with what came of them. */
import { setTimeout as pause } from 'node:timers/promises';
import { type AdminCall, Administrator } from './administrator.ts';
import { quantile } from './figures.ts';

export interface Work {
  readonly port: number;
  readonly authorization: string;
  /** Each is one administrator, who makes one call after the other. */
  readonly lanes: readonly (readonly AdminCall[])[];
  /** Of all lanes together. Default: as fast as it goes. */
  readonly perSecond?: number;
}

export interface Worked {
  readonly calls: number;
  readonly failed: number;
  /** The first failure, for the message. */
  readonly failure: string;
  /** Changes that were saved, but not in effect when they were answered. */
  readonly notLive: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Cores that this process used; near 1 it would be what limits the figures. */
  readonly cpu: number;
}

async function work({ port, authorization, lanes, perSecond }: Work): Promise<Worked> {
  const administrators = lanes.map(() => new Administrator(port, authorization));
  const latencies: number[] = [];
  const failures: string[] = [];
  let notLive = 0;
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const run = async (calls: readonly AdminCall[], lane: number) => {
    for (const [i, call] of calls.entries()) {
      // The lanes take turns. Who is late does not wait.
      const due = perSecond === undefined ? 0 : startedAt + ((i * lanes.length + lane) * 1000) / perSecond;
      const early = due - performance.now();
      if (early > 0) await pause(early);
      const sentAt = performance.now();
      try {
        const { live } = await (administrators[lane] as Administrator).call<{ live?: boolean }>(call);
        if (live === false) notLive++;
      } catch (error) {
        failures.push((error as Error).message);
      }
      latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(lanes.map(run));
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(before);
  await Promise.all(administrators.map((one) => one.close()));
  latencies.sort((a, b) => a - b);
  return {
    calls: latencies.length,
    failed: failures.length,
    failure: failures[0] ?? '',
    notLive,
    seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    maxMs: latencies.at(-1) ?? 0,
    cpu: (user + system) / 1e6 / seconds,
  };
}

process.on('message', (message: Work) => {
  work(message).then(
    (worked) => process.send?.(worked),
    (error: Error) => {
      process.stderr.write(`${error.stack}\n`);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
