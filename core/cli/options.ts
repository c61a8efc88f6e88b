import { usage } from './failure.ts';

/** One option as it was given. */
export interface Given {
  readonly name: string;
  readonly value: string | null;
}

/** The options of one run, each checked to be one of its command. */
export class Options {
  readonly #given: readonly Given[];

  constructor(given: readonly Given[]) {
    this.#given = given;
  }

  has(name: string): boolean {
    return this.#given.some((one) => one.name === name);
  }

  text(name: string): string | undefined {
    return this.all(name).at(-1);
  }

  /** Each value of one that may be given more than once. */
  all(name: string): string[] {
    return this.#given.flatMap((one) => (one.name === name && one.value !== null ? [one.value] : []));
  }

  /** Those of some names, as they stood. */
  inOrder(names: readonly string[]): readonly Given[] {
    return this.#given.filter(({ name }) => names.includes(name));
  }

  /** Values between commas, or given one by one. */
  list(name: string): string[] {
    return this.all(name).flatMap((value) => value.split(',').map((part) => part.trim()));
  }

  /** Throws USAGE where it is no whole number, or less than `least`. */
  integer(name: string, least: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw usage(`--${name} must be a whole number of at least ${least}, not '${text}'`);
  }

  /** Any time that can be read, ISO 8601 in UTC. Throws USAGE. */
  time(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    // A date alone would be taken for UTC, while one with a time is local.
    const time = new Date(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text);
    if (!Number.isNaN(time.getTime())) return time.toISOString();
    throw usage(
      `--${name} must be a time, not '${text}'`,
      'E.g. 2026-11-22, "2026-11-22 14:00" or 2026-11-22T14:00:00Z.',
    );
  }
}
