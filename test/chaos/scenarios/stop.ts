import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../condition.ts';
import { boundsOf, isOk } from '../figures.ts';
import { type FirstAnswers, Meanwhile } from '../meanwhile.ts';
import { books, type Check, kindsTable, notesOf, strict, timely } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX, type Sent } from '../traffic.ts';
import { type Trial, trial } from '../trial.ts';
import type { Server, World } from '../world.ts';

const RUN = 'y';
const HELD_MS = 1500;

/** Who answered one call with a key: before, during and after the standstill. */
interface Owners {
  readonly taken: string;
  readonly held: string;
  readonly kept: string;
}

/** SIGSTOP of a server, changes meanwhile, SIGCONT. */
export const stop: Scenario = async (world, terms) => {
  const meanwhile = new Meanwhile(world);
  await meanwhile.begin();
  const [first, frozen, last] = world.servers as [Server, Server, Server];
  const key = `${RUN}-${Date.now()}`;
  let stoppedAt = 0;
  let thawedAt = 0;
  let said = {} as FirstAnswers;
  let owners = {} as Owners;
  const kinds = [...MIX, 'hot'] as const;
  const done = await trial(world, { ...terms, kinds }, async ({ mark, answers }) => {
    await answers(frozen.name);
    // Its effect is made and its answer is not, when the server stops.
    const held = keyed(frozen, key);
    await until('the call with a key is in hand', async () => (await effectsOf(world, key)) === 1);
    await meanwhile.connect(frozen);
    stoppedAt = mark(`SIGSTOP ${frozen.name}`).at;
    frozen.keeper.signal('SIGSTOP');
    const over = wait(terms.awayMs);
    await meanwhile.change(first);
    mark('module deployed, channels changed');
    const asked = meanwhile.ask(frozen);
    // The lease of the call in hand ends, and whoever asks again with its key has it run by another server.
    const taken = await keyed(first, key);
    await over;
    thawedAt = mark(`SIGCONT ${frozen.name}`).at;
    frozen.keeper.signal('SIGCONT');
    said = await asked;
    owners = { taken, held: await held, kept: await keyed(last, key) };
    await until(`${frozen.name} is given calls again`, () => world.isReady());
    await answers(frozen.name);
  });
  await meanwhile.end();
  const stuck = done.sent.filter((one) => isStuck(one, frozen.name, stoppedAt, thawedAt, done));
  const late = stuck.filter((one) => !isOk(one));
  const left = Math.max(0, boundsOf(stuck.map(({ sentAt }) => sentAt - stoppedAt)).most);
  return {
    title: `SIGSTOP of a server for ${terms.awayMs / 1000} s, then SIGCONT; a deploy and changes meanwhile`,
    about: [
      ...notesOf(done),
      `in hand on ${frozen.name} while it stood still: ${stuck.length}, ${stuck.length - late.length} answered after the thaw, ${late.length} failed`,
    ],
    tables: [kindsTable(done)],
    checks: [
      timely('no new traffic to it', left, 2000),
      ...onlyStuck(done, stuck),
      ...books(done),
      ...caughtUp(said),
      ...olderAfter(done, frozen.name, thawedAt),
      strict(
        'a lease that ended while it stood still is not used after the thaw, and there is one effect',
        owners.kept === first.name && (await effectsOf(world, key)) === 1,
        `run again by ${owners.taken}, answered late by ${owners.held}; kept is the answer of ${owners.kept}`,
      ),
    ],
  };
};

/** The balancer had given it to the server that stood still. */
function isStuck(one: Sent, server: string, from: number, until: number, { logged }: Trial): boolean {
  if (one.sentAt > until || one.endedAt < from) return false;
  if (isOk(one)) return one.by === server && one.endedAt > until;
  return logged.some(({ id, server: at }) => id === one.id && at === server);
}

function onlyStuck({ sent }: Trial, stuck: readonly Sent[]): Check[] {
  const known = new Set(stuck.map(({ id }) => id));
  const others = sent.filter((one) => !isOk(one) && !known.has(one.id));
  return [strict('nothing failed but what was in hand on it', others.length === 0, others.length)];
}

function caughtUp({ versions, made, shut }: FirstAnswers): Check[] {
  const isNew = versions.every((one) => one === '2');
  return [
    strict('its first answers after the thaw are of the new version', isNew, versions.join()),
    strict('a channel that was made meanwhile is there at once', made === 200, `status ${made}`),
    strict('a channel that was shut meanwhile serves nobody any more', shut === 404, `status ${shut}`),
  ];
}

/** What came to it after the thaw is answered by the new one. */
function olderAfter({ sent }: Trial, server: string, thawedAt: number): Check[] {
  const after = sent.filter((one) => one.kind === 'hot' && isOk(one) && one.by === server && one.sentAt > thawedAt);
  const older = after.filter(({ version }) => version !== '2');
  const measured = `${older.length} of ${after.length}`;
  return [strict('it never answers with the old version again', older.length === 0, measured)];
}

async function effectsOf(world: World, key: string): Promise<number> {
  return (await world.effects.of(RUN)).get(key) ?? 0;
}

/** One call, always with the same key: which server gave the answer. */
async function keyed({ url }: Server, key: string): Promise<string> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key, 'x-correlation-id': key };
  const body = JSON.stringify({ slowMs: HELD_MS, padding: '' });
  const response = await fetch(`${url}/chaos/keyed`, { method: 'POST', headers, body });
  const { server = `status ${response.status}` } = (await response.json()) as { server?: string };
  return server;
}
