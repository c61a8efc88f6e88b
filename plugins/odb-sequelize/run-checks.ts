import type {
  Fence,
  NewRun,
  OwnRun,
  Pool,
  RunEnd,
  RunKey,
  Runner,
  RunOutcome,
  RunSource,
} from '../../core/ports/index.ts';
import { Checks } from './checks.ts';
import { LONGEST } from './content.ts';
import type { Prepared } from './run-rows.ts';

const SOURCES: readonly RunSource[] = ['schedule', 'manual', 'backfill', 'follow', 'call'];
const POOLS: readonly Pool[] = ['holder', 'any', 'queue'];
const OUTCOMES: readonly RunOutcome[] = [
  ...(['succeeded', 'failed', 'timeout', 'interrupted', 'skipped', 'missed', 'cancelled'] as const),
];

/** Throws INVALID that lists what is wrong. */
export function prepare(runs: readonly NewRun[], fence: Fence | null): readonly Prepared[] {
  const checks = new Checks();
  checkFence(checks, fence);
  const prepared = runs.map((run, i) => preparedOf(checks, `/runs/${i}`, run));
  checks.end('The runs cannot be added');
  return prepared;
}

/** Throws INVALID that lists what is wrong. Gives what comes after each. */
export function prepareEnds(
  ends: readonly RunEnd[],
  owner: string | null,
  fence: Fence | null,
): readonly (readonly Prepared[])[] {
  const checks = new Checks();
  if (owner !== null) checks.text('/owner', owner, LONGEST.holder);
  checkFence(checks, fence);
  const after = ends.map((end, i) => {
    const at = `/ends/${i}`;
    checkKey(checks, at, end);
    checks.oneOf(`${at}/outcome`, end.outcome, OUTCOMES);
    checks.whole(`${at}/endedAt`, end.endedAt);
    return end.followers.map((run, j) => preparedOf(checks, `${at}/followers/${j}`, run));
  });
  checks.end('The runs cannot be ended');
  return after;
}

/** Throws INVALID that lists what is wrong. */
export function checkStart(keys: readonly RunKey[], by: Runner, fence: Fence | null): void {
  const checks = new Checks();
  for (const [i, key] of keys.entries()) checkKey(checks, `/keys/${i}`, key);
  checkRunner(checks, '/by', by);
  checkFence(checks, fence);
  checks.end('The runs cannot be started');
}

/** Throws INVALID that lists what is wrong. */
export function checkOwn(run: OwnRun): void {
  const checks = new Checks();
  checkKey(checks, '/within', run);
  checks.text('/within/owner', run.owner, LONGEST.holder);
  checks.end('There is no such run');
}

/** Throws INVALID that lists what is wrong. */
export function checkMove(keys: readonly RunKey[], pool: Pool): void {
  const checks = new Checks();
  for (const [i, key] of keys.entries()) checkKey(checks, `/keys/${i}`, key);
  checks.oneOf('/pool', pool, POOLS);
  checks.end('The runs cannot be moved');
}

/** Throws INVALID that lists what is wrong. */
export function checkPools(pools: readonly Pool[]): void {
  const checks = new Checks();
  for (const [i, pool] of pools.entries()) checks.oneOf(`/pools/${i}`, pool, POOLS);
  checks.end('The pools are not known');
}

/** Throws INVALID that lists what is wrong. */
export function checkTokens(tokens: readonly string[], numbers: Readonly<Record<string, number>> = {}): void {
  const checks = new Checks();
  for (const [i, token] of tokens.entries()) checks.text(`/tokens/${i}`, token, LONGEST.token);
  for (const [name, value] of Object.entries(numbers)) checks.whole(`/${name}`, value, name === 'budget' ? 1 : 0);
  checks.end('There are no such runs');
}

/** Throws INVALID that lists what is wrong. */
export function checkNumbers(what: string, numbers: Readonly<Record<string, number>>): void {
  const checks = new Checks();
  for (const [name, value] of Object.entries(numbers)) checks.whole(`/${name}`, value);
  checks.end(what);
}

function preparedOf(checks: Checks, at: string, run: NewRun): Prepared {
  checkKey(checks, at, run);
  checks.oneOf(`${at}/source`, run.source, SOURCES);
  if (run.job !== null) checks.text(`${at}/job`, run.job, LONGEST.job);
  checks.text(`${at}/service`, run.service, LONGEST.service);
  checks.whole(`${at}/dueAt`, run.dueAt);
  checks.whole(`${at}/readyAt`, run.readyAt);
  checks.oneOf(`${at}/pool`, run.pool, POOLS);
  checks.whole(`${at}/attempts`, run.attempts, 1);
  checks.whole(`${at}/count`, run.count, 1);
  if (run.by !== null) checkRunner(checks, `${at}/by`, run.by);
  if (run.outcome !== null) checks.oneOf(`${at}/outcome`, run.outcome, OUTCOMES);
  return { run, data: checks.json(`${at}/data`, run.data) };
}

function checkKey(checks: Checks, at: string, { token, attempt }: RunKey): void {
  checks.text(`${at}/token`, token, LONGEST.token);
  checks.whole(`${at}/attempt`, attempt, 1);
}

function checkRunner(checks: Checks, at: string, { owner, server, epoch, now }: Runner): void {
  checks.text(`${at}/owner`, owner, LONGEST.holder);
  checks.text(`${at}/server`, server, LONGEST.server);
  checks.whole(`${at}/epoch`, epoch);
  checks.whole(`${at}/now`, now);
}

function checkFence(checks: Checks, fence: Fence | null): void {
  if (fence === null) return;
  checks.text('/fence/lease', fence.lease, LONGEST.name);
  checks.text('/fence/holder', fence.holder, LONGEST.holder);
  checks.whole('/fence/epoch', fence.epoch);
}
