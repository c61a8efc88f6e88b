import { change, type Deployed, deploy } from '../changing.ts';
import { isOk, latencyOf, quantile } from '../figures.ts';
import { HotModule, versionAt } from '../hot.ts';
import { books, type Check, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX, type Sent } from '../traffic.ts';
import { trial } from '../trial.ts';
import { agree } from './database.ts';

/** How late a change may be on any server. */
const LIVE_MS = 2000;
const KINDS = [...MIX, 'hot'] as const;

/** Many changes of the configuration and hot deploys, between two quiet windows. */
export const changes: Scenario = async (world, terms) => {
  const hot = new HotModule(world);
  await hot.begin();
  const still = { ...terms, kinds: KINDS, seconds: terms.seconds / 2 };
  const before = await trial(world, still);
  const deployed: Deployed[] = [{ version: 1, at: 0 }];
  const tookMs = { change: [] as number[], deploy: [] as number[] };
  let seconds = 0;
  const busy = await trial(world, { ...terms, kinds: KINDS }, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    mark('changes begin');
    const from = performance.now();
    // An administrator at each server, and one who deploys.
    const all = world.servers.map((_, lane) => change(world, lane, terms, tookMs.change));
    const [more] = await Promise.all([deploy(world, hot, terms, tookMs.deploy), ...all]);
    deployed.push(...more);
    seconds = (performance.now() - from) / 1000;
    mark('changes have ended');
  });
  const isOne = await agree(world);
  const after = await trial(world, still);
  const versions = await Promise.all(world.servers.map(({ url }) => versionAt(url)));
  await hot.remove();
  const late = outdated(busy.sent, deployed);
  return {
    title: `${tookMs.change.length} changes and ${tookMs.deploy.length} hot deploys in ${seconds.toFixed(0)} s`,
    about: [
      ...['quiet, before:', ...notesOf(before), 'with changes:', ...notesOf(busy), 'quiet, after:', ...notesOf(after)],
      `until it was acknowledged: a change ${tookOf(tookMs.change)}; a hot deploy ${tookOf(tookMs.deploy)}`,
    ],
    tables: [before, busy, after].map(kindsTable),
    checks: [
      ...noneFailed(busy, ...KINDS),
      ...books(busy),
      strict('all servers end at the same revision', isOne, 'the same'),
      strict(
        'and at the same version of the module',
        versions.every((one) => one === String(hot.version)),
        versions.join(),
      ),
      slower([before.sent, after.sent], busy.sent),
      { ...strict(`answers of a version that was outdated for ${LIVE_MS} ms: 0`, late === 0, late), strict: false },
    ],
  };
};

/** Of calls that are not slow by themselves: those take as long as they were told to, and hide what changes cost. */
function slower(quiet: readonly (readonly Sent[])[], busy: readonly Sent[]): Check {
  const p99 = (sent: readonly Sent[]) =>
    latencyOf(
      sent.filter(({ isSlow }) => !isSlow),
      0.99,
    );
  const [still, during] = [p99(quiet.flat()), p99(busy)];
  const each = quiet.map((sent) => p99(sent).toFixed(1)).join(' and ');
  const measured = `${(during / still).toFixed(2)} x (quiet ${each} ms, with changes ${during.toFixed(1)} ms)`;
  return { text: 'p99 within 1.5 x of the quiet one', measured, met: during <= 1.5 * still, strict: false };
}

function tookOf(ms: readonly number[]): string {
  if (ms.length === 0) return 'none';
  const sorted = [...ms].sort((a, b) => a - b);
  return `p50 ${quantile(sorted, 0.5).toFixed(0)} ms, p99 ${quantile(sorted, 0.99).toFixed(0)} ms`;
}

/** Sent when another version had been there for longer than that. */
function outdated(sent: readonly Sent[], deployed: readonly Deployed[]): number {
  return sent.filter((one) => {
    if (one.kind !== 'hot' || !isOk(one)) return false;
    const due = deployed.findLast(({ at }) => at + LIVE_MS < one.sentAt)?.version ?? 1;
    return Number(one.version) < due;
  }).length;
}
