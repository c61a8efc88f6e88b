import { countBy, isOk } from '../figures.ts';
import { type Ended, Http2Caller, REFUSED } from '../http2-caller.ts';
import type { Entries } from '../ledger.ts';
import { books, type Check, kindsTable, noneFailed, notesOf, strict, told as tellCounts } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import type { Sent } from '../traffic.ts';
import { type Trial, trial } from '../trial.ts';

/** Plain POSTs over HTTP/2 beside the load: slow ones, so that some are in hand on each server that dies. */
const HTTP2_AT_ONCE = 9;
const HTTP2_SLOW_MS = 400;

interface Death {
  readonly server: string;
  readonly at: number;
  /** When the process was gone, its connections with it. */
  readonly goneAt: number;
}

/** kill -9 of one server after the other, each started again. */
export const kill: Scenario = async (world, terms) => {
  const deaths: Death[] = [];
  const run = `h${Date.now()}`;
  const caller = world.secureUrl === null ? null : new Http2Caller(world.secureUrl, run);
  caller?.start(HTTP2_AT_ONCE, HTTP2_SLOW_MS);
  const done = await trial(world, terms, async ({ mark, answers }) => {
    for (let i = 0; i < terms.kills; i++) {
      const server = world.servers[i % world.servers.length] as (typeof world.servers)[number];
      await answers(server.name);
      const { at } = mark(`kill -9 ${server.name}`);
      await server.keeper.end('SIGKILL');
      deaths.push({ server: server.name, at, goneAt: mark(`${server.name} is gone`).at });
      // The others go on without it for a while.
      await answers(world.servers[(i + 1) % world.servers.length]?.name ?? '', 100);
      await server.keeper.start();
      await world.ready();
    }
    await answers(deaths.at(-1)?.server ?? '');
  }).finally(() => caller?.stop());
  return {
    title: `kill -9 of a server, ${terms.kills} times`,
    about: notesOf(done),
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, 'get', 'keyed'),
      ...books(done),
      ...onlyInHand(done, deaths),
      ...overHttp2(caller?.ended ?? [], world.entries()),
    ],
  };
};

/**
 * What may fail is what the dead process had. Where a server went away under a call, HAProxy often closes the caller's
 * connection without a word, and writes no line for that: then the books tell where the handler was entered.
 */
function onlyInHand({ sent, logged, entries, ledger }: Trial, deaths: readonly Death[]): Check[] {
  const failed = sent.filter((one) => !isOk(one) && (one.kind === 'post' || one.kind === 'large'));
  const deathOf = ({ endedAt }: Sent) => deaths.findLast(({ at }) => at <= endedAt);
  const where = new Map(logged.map(({ id, server }) => [id, server]));
  const elsewhere = failed.filter((one) => {
    const at = where.get(one.id) ?? entries.get(one.id)?.[0] ?? deathOf(one)?.server;
    return at === undefined || at !== deathOf(one)?.server;
  });
  const late = failed.filter((one) => one.sentAt > (deathOf(one)?.goneAt ?? 0));
  const plain = ledger.plainFailedEntered + ledger.plainFailedBefore;
  return [
    strict(
      'what failed was in hand on the server that died (plain POSTs, and bodies too large to repeat)',
      elsewhere.length === 0,
      `${failed.length - elsewhere.length} of ${failed.length}, ${plain} of them plain POSTs`,
    ),
    { ...strict('of those, sent when the process was gone already: 0', late.length === 0, late.length), strict: false },
  ];
}

/** REFUSED_STREAM says that a request was not begun, and callers repeat it then: none of those was entered. */
function overHttp2(ended: readonly Ended[], entries: Entries): Check[] {
  if (ended.length === 0) return [];
  const how = tellCounts(countBy(ended, (one) => one.how));
  const refused = ended.filter((one) => one.how === REFUSED && entries.has(one.id));
  const twice = ended.filter(({ id }) => (entries.get(id)?.length ?? 0) > 1);
  return [
    strict(
      'HTTP/2: what is refused as not begun was not begun',
      refused.length === 0,
      `${refused.length} were (${how})`,
    ),
    strict('HTTP/2: no plain POST was entered twice', twice.length === 0, twice.length),
  ];
}
