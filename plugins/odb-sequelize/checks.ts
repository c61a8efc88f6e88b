import { GantryError, type Problem } from '../../core/api.ts';
import { problemOf } from './content.ts';

/** Collects what is wrong with what was asked, each with its place in it. */
export class Checks {
  readonly #problems: Problem[] = [];

  /** A text of 1 to `most` characters. */
  text(path: string, value: unknown, most: number): void {
    const wrong = problemOf(value, most);
    if (wrong !== null) this.#problems.push({ path, ...wrong });
  }

  /** A whole number from `least` on; times are. */
  whole(path: string, value: unknown, least = 0): void {
    if (Number.isSafeInteger(value) && (value as number) >= least) return;
    const expected = `a whole number from ${least} on`;
    this.#problems.push({ path, message: `must be ${expected}`, expected, got: told(value) });
  }

  oneOf(path: string, value: unknown, known: readonly string[]): void {
    if (known.includes(value as string)) return;
    const expected = `one of ${known.join(', ')}`;
    this.#problems.push({ path, message: `must be ${expected}`, expected, got: told(value) });
  }

  /** A JSON text; null for what has none. */
  json(path: string, value: unknown): string | null {
    if (value === null || value === undefined) return null;
    let got = typeof value as string;
    try {
      const text = JSON.stringify(value) as string | undefined;
      if (text !== undefined) return text;
    } catch (thrown) {
      got = thrown instanceof Error ? (thrown.message.split('\n', 1)[0] as string) : got;
    }
    this.#problems.push({ path, message: 'cannot be kept as JSON', expected: 'JSON', got });
    return null;
  }

  /** Throws INVALID that lists all of it. */
  end(what: string): void {
    if (this.#problems.length === 0) return;
    throw new GantryError('INVALID', `${what}: ${this.#problems.length} problem(s)`, { problems: this.#problems });
  }
}

function told(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(value);
}
