/** What is printed while the tests run, and at the end. */
import type { Result } from './events.ts';
import type { Durations } from './plan.ts';

export interface FileReport {
  readonly results: Result[];
  /** What its tests printed. */
  text: string;
  ms: number;
  cpuMs: number;
  /** What keeps it from being a success beside its failed tests: a crash, a hang, no test at all. */
  readonly problems: string[];
}

const SLOWEST = 10;
const TITLES = 5;

export class Report {
  readonly files = new Map<string, FileReport>();
  readonly #print: (text: string) => void;

  constructor(print: (text: string) => void) {
    this.#print = print;
  }

  of(file: string): FileReport {
    let found = this.files.get(file);
    if (found === undefined) this.files.set(file, (found = { results: [], text: '', ms: 0, cpuMs: 0, problems: [] }));
    return found;
  }

  count(state: Result['state']): number {
    return [...this.files.values()].reduce((sum, { results }) => sum + countOf(results, state), 0);
  }
  /** Also what is no test's: a crash, a hang. */
  get failed(): number {
    return this.count('failed') + [...this.files.values()].reduce((sum, { problems }) => sum + problems.length, 0);
  }

  /** A line for a file that has ended, and below it what its tests printed. */
  line(file: string, done: string): void {
    const { results, problems, text, ms } = this.of(file);
    const [failed, skipped] = [countOf(results, 'failed') + problems.length, countOf(results, 'skipped')];
    const counts = [
      `${countOf(results, 'passed')} passed`,
      ...(failed > 0 ? [`${failed} FAILED`] : []),
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
    ];
    this.#print(`${failed > 0 ? '✘' : '✔'} ${done} ${file}: ${counts.join(', ')}, ${seconds(ms)}\n`);
    const said = text.trim();
    if (said !== '') this.#print(`${said.replace(/^\s*/gm, '      ')}\n`);
  }

  /** Everything that is not well in full, what was skipped, the slowest files, and the counts as the last line. */
  end(wallMs: number): void {
    this.#skips();
    this.#failures();
    const slowest = [...this.files].toSorted(([, a], [, b]) => b.ms - a.ms).slice(0, SLOWEST);
    this.#print(`\nThe ${slowest.length} slowest of ${this.files.size} files (wall, CPU):\n`);
    for (const [file, { ms, cpuMs }] of slowest) {
      this.#print(`${seconds(ms).padStart(9)} ${seconds(cpuMs).padStart(9)}  ${file}\n`);
    }
    const cpuMs = [...this.files.values()].reduce((sum, one) => sum + one.cpuMs, 0);
    this.#print(
      `\n${seconds(wallMs)} in all; the tests used ${seconds(cpuMs)} of CPU, loading and engines not counted\n`,
    );
    this.#print(`${this.count('passed')} passed, ${this.failed} failed, ${this.count('skipped')} skipped\n`);
  }

  /** For CI: the counts, and the failures with their errors. */
  toJSON(): object {
    const failures = [...this.files].flatMap(([file, { results, problems }]) => [
      ...problems.map((problem) => ({ file, title: file, error: problem })),
      ...results.filter(({ state }) => state === 'failed').map(({ title, error }) => ({ file, title, error })),
    ]);
    const stats = { passes: this.count('passed'), failures: this.failed, pending: this.count('skipped') };
    return { stats, failures };
  }

  /** What is to be recorded: files that ran to their end. Those that are gone are forgotten. */
  durations(before: Durations, existing: readonly string[]): Durations {
    const next = Object.fromEntries(existing.flatMap((file) => (before[file] ? [[file, before[file]]] : [])));
    for (const [file, { ms, cpuMs, problems }] of this.files) if (problems.length === 0) next[file] = { ms, cpuMs };
    return Object.fromEntries(Object.entries(next).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  #skips(): void {
    const reasons = new Set<string>();
    for (const { text } of this.files.values()) {
      for (const [reason] of text.matchAll(/^ *SKIPPED: .*$/gm)) reasons.add(reason.trim());
    }
    const skipped = [...this.files].flatMap(([file, { results }]) => {
      const titles = results.filter(({ state }) => state === 'skipped').map(({ title }) => title);
      return titles.length === 0 ? [] : [{ file, titles }];
    });
    if (skipped.length > 0) this.#print('\nSKIPPED\n');
    for (const reason of reasons) this.#print(`  ${reason}\n`);
    for (const { file, titles } of skipped) {
      this.#print(`  ${titles.length} of ${file}\n`);
      for (const title of titles.slice(0, TITLES)) this.#print(`      ${title}\n`);
      if (titles.length > TITLES) this.#print(`      and ${titles.length - TITLES} more\n`);
    }
  }
  #failures(): void {
    let n = 0;
    for (const [file, { results, problems, text }] of this.files) {
      for (const problem of problems)
        this.#print(`\nFAILED ${++n}) ${file}: ${problem}\n${indented(text.slice(-5000))}`);
      for (const { title, state, error = '' } of results) {
        if (state === 'failed') this.#print(`\nFAILED ${++n}) ${file}: ${title}\n${indented(error)}`);
      }
    }
  }
}

function countOf(results: readonly Result[], state: Result['state']): number {
  return results.filter((one) => one.state === state).length;
}
function indented(text: string): string {
  return text.trim() === '' ? '' : `${text.trimEnd().replace(/^/gm, '    ')}\n`;
}
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
