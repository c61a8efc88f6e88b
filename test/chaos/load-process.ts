/** The load, in a process of its own: it gets an order by IPC, and answers with every request that it sent. */
import http from 'node:http';
import { Requests } from './requests.ts';
import type { LoadOrder } from './traffic.ts';

/** Connections that are idle so long are closed by us, before the balancer does it under a request. */
const IDLE_MS = 10_000;
const TELL_MS = 100;

async function drive(order: LoadOrder): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 4096, timeout: IDLE_MS, scheduling: 'lifo' });
  const requests = new Requests(order, agent);
  const telling = setInterval(() => process.send?.({ progress: requests.progress() }), TELL_MS);
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await (order.closed === undefined ? atRate(order, requests) : inTurns(order, requests));
  const seconds = (performance.now() - startedAt) / 1000;
  process.send?.({ over: true });
  await requests.settled();
  clearInterval(telling);
  agent.destroy();
  const { user, system } = process.cpuUsage(cpu);
  process.send?.({ sent: requests.all, cpu: (user + system) / 1e6 / seconds });
}

/** At each moment as many as are due by then, whatever became of those before. */
function atRate({ perSecond, seconds }: LoadOrder, requests: Requests): Promise<void> {
  const startedAt = performance.now();
  const total = Math.round(perSecond * seconds);
  let next = 0;
  return new Promise((resolve) => {
    const tick = () => {
      const now = performance.now() - startedAt;
      while (next < total && (next * 1000) / perSecond <= now) {
        void requests.send(startedAt + (next * 1000) / perSecond);
        next++;
      }
      if (next >= total || ended) return resolve();
      setTimeout(tick, 1);
    };
    tick();
  });
}

/** So many at a time. */
async function inTurns({ closed = 1, seconds }: LoadOrder, requests: Requests): Promise<void> {
  const until = performance.now() + seconds * 1000;
  const one = async () => {
    while (performance.now() < until && !ended) await requests.send(performance.now());
  };
  await Promise.all(Array.from({ length: closed }, one));
}

let ended = false;
process.on('message', (message: LoadOrder | 'end') => {
  if (message === 'end') {
    ended = true;
    return;
  }
  ended = false;
  drive(message).catch((error: Error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  });
});
process.once('disconnect', () => process.exit());
process.send?.('ready');
