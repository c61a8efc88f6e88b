/** What must add up: requests, entries of handlers, and effects in the database. */
import { isOk } from './figures.ts';
import { KINDS, type Sent } from './traffic.ts';

/** On which servers the handler of each call was entered, once for each entry. */
export type Entries = ReadonlyMap<string, readonly string[]>;

export interface Ledger {
  /** With a key and answered well, by how many effects they have: `1` should be the only one. */
  readonly effectsOfAnswered: Readonly<Record<string, number>>;
  /** Ids with more than one effect, whatever was answered. */
  readonly effectsTwice: readonly string[];
  /** Calls with a key whose handler was entered more than once; allowed, and told. */
  readonly keyedEnteredTwice: number;
  readonly plainEnteredTwice: readonly string[];
  /** Plain ones that were answered well without ever being entered: it would mean that the books are wrong. */
  readonly plainNotEntered: readonly string[];
  /** Plain ones that failed: their handlers were entered, or they never got so far. */
  readonly plainFailedEntered: number;
  readonly plainFailedBefore: number;
}

const KEYED = new Set(KINDS.filter(({ path }) => path === '/chaos/keyed').map(({ name }) => name));

export function balance(sent: readonly Sent[], entries: Entries, effects: ReadonlyMap<string, number>): Ledger {
  const keyed = sent.filter(({ kind }) => KEYED.has(kind));
  const plain = sent.filter(({ kind }) => kind === 'post');
  const plainFailed = plain.filter((one) => !isOk(one));
  const effectsOfAnswered: Record<string, number> = {};
  for (const { id } of keyed.filter(isOk)) {
    const count = String(effects.get(id) ?? 0);
    effectsOfAnswered[count] = (effectsOfAnswered[count] ?? 0) + 1;
  }
  const entered = ({ id }: Sent) => entries.get(id)?.length ?? 0;
  return {
    effectsOfAnswered,
    effectsTwice: [...effects].filter(([, count]) => count > 1).map(([id]) => id),
    keyedEnteredTwice: keyed.filter((one) => entered(one) > 1).length,
    plainEnteredTwice: plain.filter((one) => entered(one) > 1).map(({ id }) => id),
    plainNotEntered: plain.filter((one) => isOk(one) && entered(one) === 0).map(({ id }) => id),
    plainFailedEntered: plainFailed.filter((one) => entered(one) > 0).length,
    plainFailedBefore: plainFailed.filter((one) => entered(one) === 0).length,
  };
}
