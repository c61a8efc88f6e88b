/** What a scenario showed, and whether that is what was promised. */
import { boundsOf, countBy, isOk, type Summary, summarise, timeline } from './figures.ts';
import { KINDS, type KindName } from './traffic.ts';
import type { Trial } from './trial.ts';

export interface Check {
  readonly text: string;
  readonly measured: string;
  readonly met: boolean;
  /** Holds on any machine, however busy: not a matter of how fast something was. */
  readonly strict: boolean;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Outcome {
  readonly title: string;
  readonly about: readonly string[];
  readonly tables: readonly Table[];
  readonly checks: readonly Check[];
}

/** A promise that holds or does not. */
export function strict(text: string, met: boolean, measured: string | number): Check {
  return { text, met, measured: String(measured), strict: true };
}
/** A promise about time, which a busy machine may break. */
export function timely(text: string, ms: number, mostMs: number): Check {
  return { text: `${text} (at most ${mostMs} ms)`, met: ms <= mostMs, measured: `${Math.round(ms)} ms`, strict: false };
}

/** Of these kinds none failed. */
export function noneFailed({ sent }: Trial, ...kinds: readonly KindName[]): Check[] {
  return kinds.map((kind) => {
    const own = sent.filter((one) => one.kind === kind);
    const failed = own.filter((one) => !isOk(one));
    const label = KINDS.find(({ name }) => name === kind)?.label ?? kind;
    const how = failed.length === 0 ? '' : ` ${told(countBy(failed, ({ failure }) => failure))}`;
    return strict(
      `${label}: 0 failed`,
      failed.length === 0 && own.length > 0,
      `${failed.length} of ${own.length}${how}`,
    );
  });
}

/** What must add up whatever happened. */
export function books({ ledger, sent }: Trial): Check[] {
  const { effectsOfAnswered, effectsTwice, plainEnteredTwice, plainNotEntered } = ledger;
  const checks: Check[] = [];
  if (sent.some(({ kind }) => kind === 'keyed')) {
    const answered = Object.values(effectsOfAnswered).reduce((sum, count) => sum + count, 0);
    const once = effectsOfAnswered['1'] ?? 0;
    checks.push(
      strict('every keyed POST that was answered has exactly one effect', once === answered, `${once} of ${answered}`),
      strict('no effect was made twice', effectsTwice.length === 0, effectsTwice.length),
    );
  }
  if (sent.some(({ kind }) => kind === 'post')) {
    checks.push(
      strict('no plain POST was entered twice', plainEnteredTwice.length === 0, plainEnteredTwice.length),
      strict('every plain POST that was answered was entered', plainNotEntered.length === 0, plainNotEntered.length),
    );
  }
  return checks;
}

/** The kinds of requests, one a row. */
export function kindsTable({ sent }: Trial): Table {
  const head = ['', 'sent', 'ok', 'failed', 'how', 'p50 ms', 'p99 ms', 'max ms', 'longest gap ms'];
  const row = (one: Summary) => [
    one.label,
    String(one.sent),
    String(one.ok),
    String(one.failed),
    told(one.failures),
    one.p50Ms.toFixed(1),
    one.p99Ms.toFixed(1),
    one.maxMs.toFixed(0),
    one.gapMs.toFixed(0),
  ];
  return { head, rows: summarise(sent).map(row) };
}

/** What stands beside the table: books, repeats, how calls ended at the balancer, and when they failed. */
export function notesOf(trial: Trial): readonly string[] {
  const { ledger, logged, marks, sent } = trial;
  const { least, most } = boundsOf(sent.map(({ dueAt }) => dueAt));
  const seconds = (most - least) / 1000;
  const lines = [
    `${sent.length} requests in ${seconds.toFixed(1)} s (${(sent.length / seconds).toFixed(0)}/s); cores: ${coresOf(trial)}`,
    `handlers entered twice: ${ledger.keyedEnteredTwice} of calls with a key, ${ledger.plainEnteredTwice.length} of plain ones`,
    `repeated by the balancer: ${logged.filter(({ retries }) => retries > 0).length}; of ${logged.length} calls that it logged`,
  ];
  const { plainFailedEntered, plainFailedBefore } = ledger;
  if (plainFailedEntered + plainFailedBefore > 0) {
    lines.push(`plain POSTs that failed: ${plainFailedEntered} were entered, ${plainFailedBefore} were not`);
  }
  const bad = new Map(sent.filter((one) => !isOk(one)).map((one) => [one.id, one]));
  const ends = logged.filter(({ id }) => bad.has(id));
  if (bad.size > 0) {
    const how = countBy(ends, (one) => `${bad.get(one.id)?.kind} ${one.termination} ${one.status} at ${one.server}`);
    lines.push(
      `failed, as the balancer logged it: ${told(how)}; not logged: ${bad.size - new Set(ends.map(({ id }) => id)).size}`,
    );
    lines.push(...timeline(sent, marks).map((line) => `  ${line}`));
  }
  return lines;
}

export function coresOf({ cpu }: Pick<Trial, 'cpu'>): string {
  return Object.entries(cpu)
    .map(([name, cores]) => `${name} ${cores.toFixed(2)}`)
    .join(', ');
}

export function told(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, count]) => `${count} x ${what}`)
    .join(', ');
}

/** For a terminal. */
export function asText({ title, about, tables, checks }: Outcome): string {
  const parts = [`\n== ${title}`, ...about.map((line) => `   ${line}`)];
  for (const { head, rows } of tables) {
    const all = [head, ...rows];
    const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
    const line = (row: readonly string[]) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ');
    parts.push('', ...all.map(line));
  }
  parts.push('', ...checks.map(({ text, measured, met }) => `${met ? 'MET    ' : 'NOT MET'}  ${text}: ${measured}`));
  return `${parts.join('\n')}\n`;
}
