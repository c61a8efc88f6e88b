import { GantryError, isGantryError, type Problem } from '../errors.ts';
import { pointerOf } from '../path.ts';
import { NOWHERE, type Places } from '../schema/secret.ts';
import type { Keyring } from './keyring.ts';

/** How a secret is stored in a record's body: the one key of an object. The name is reserved, wherever it stands. */
const SEALED = '$sealed';
/** What is shown in place of a secret; given back, it means "as it was". No secret can be this text. */
export const HIDDEN = '***';
/** Of lists and objects within each other, as it is for bodies of calls. */
const DEEPEST = 100;

/** A copy, and what could not be done. Where a problem is, the copy has what was given. */
export interface Sifted {
  readonly value: unknown;
  /** Each with a JSON pointer (RFC 6901); nothing of a secret is in them. */
  readonly problems: readonly Problem[];
}

/**
 * A copy of JSON in which every secret text is sealed; what is sealed already stays (whether it can be opened, open()
 * tells). All functions here throw INPUT_TOO_DEEP for a value of more than 100 levels, and never change what they are
 * given.
 */
export function seal(places: Places, value: unknown, keyring: Keyring, context: string): unknown {
  return walk(value, from(places), (leaf, at) =>
    at.places.secret && typeof leaf === 'string' ? { [SEALED]: keyring.seal(leaf, context) } : leaf,
  );
}

/** A copy in the clear. No schema is needed: a plugin that sealed may be another one by now, or gone. */
export function open(value: unknown, keyring: Keyring, context: string): Sifted {
  const problems: Problem[] = [];
  const opened = walk(value, from(NOWHERE), (leaf, at) => {
    if (!isSealed(leaf)) return leaf;
    return opening(leaf, at, problems, (sealed) => keyring.open(sealed, context));
  });
  return { value: opened, problems };
}

/** A copy with `***` for what is sealed and, where places are given, for secrets in the clear. */
export function hide(value: unknown, places: Places = NOWHERE): unknown {
  return walk(value, from(places), (leaf, at) => {
    const secret = isSealed(leaf) || (at.places.secret && leaf !== null && leaf !== undefined);
    return secret ? HIDDEN : leaf;
  });
}

/**
 * What an operator gives, with the earlier value in place of each `***` where a secret is, by the schema or because the
 * earlier value is sealed. Items of lists are matched by their `name` or `username`; those without are matched by
 * position, as long as the list did not become shorter: whose secret it is could not be told then. `earlier` is
 * undefined for a record that is new.
 */
export function merge(places: Places, given: unknown, earlier: unknown): Sifted {
  const problems: Problem[] = [];
  return { value: merged(given, earlier, from(places), problems), problems };
}

/** Whether two values are the same JSON, whatever the order of their keys. For secrets in the clear only. */
export function same(one: unknown, other: unknown): boolean {
  return equal(one, other, from(NOWHERE));
}

/** A secret that is unchanged keeps its sealed text, so that a comparison of two exports shows what changed. */
export function reuse(sealed: unknown, earlier: unknown, keyring: Keyring, context: string): unknown {
  if (typeof sealed !== 'object' || sealed === null || typeof earlier !== 'object' || earlier === null) return sealed;
  if ('$sealed' in sealed) {
    const equal =
      '$sealed' in earlier && open(sealed, keyring, context).value === open(earlier, keyring, context).value;
    return equal ? earlier : sealed;
  }
  if (Array.isArray(sealed)) {
    const list = Array.isArray(earlier) ? earlier : [];
    return sealed.map((entry, i) => reuse(entry, list[i], keyring, context));
  }
  return Object.fromEntries(
    Object.entries(sealed).map(([key, entry]) => [
      key,
      reuse(entry, (earlier as Record<string, unknown>)[key], keyring, context),
    ]),
  );
}

/** A copy in which what is sealed with an older key is sealed with the current one. */
export function reseal(value: unknown, keyring: Keyring, context: string): Sifted & { readonly changed: boolean } {
  const problems: Problem[] = [];
  let changed = false;
  const anew = walk(value, from(NOWHERE), (leaf, at) => {
    if (!isSealed(leaf)) return leaf;
    return opening(leaf, at, problems, (sealed) => {
      if (keyring.isCurrent(sealed)) return leaf;
      const text = keyring.open(sealed, context);
      changed = true;
      return { [SEALED]: keyring.seal(text, context) };
    });
  });
  return { value: anew, problems, changed };
}

/** Where a walk is. The path is made only where it is needed. */
interface At {
  readonly places: Places;
  readonly depth: number;
  readonly step: string | number;
  readonly above: At | null;
}

function from(places: Places): At {
  return { places, depth: 0, step: '', above: null };
}

function below(at: At, step: string | number): At {
  return { places: at.places.below(step), depth: at.depth + 1, step, above: at };
}

function pointer(at: At): string {
  if (at.above === null) return '';
  return `${pointer(at.above)}${pointerOf([at.step])}`;
}

/** Depth is the stack's, too: whatever walks checks it. */
function checkDepth(at: At): void {
  if (at.depth < DEEPEST) return;
  const message = `is nested deeper than ${DEEPEST} levels`;
  throw new GantryError('INPUT_TOO_DEEP', `The value ${message}`, {
    problems: [{ path: '', message, expected: `at most ${DEEPEST} levels` }],
  });
}

/** A copy, with what `change` makes of each value that is neither a list nor an object, or is sealed. */
function walk(value: unknown, at: At, change: (leaf: unknown, at: At) => unknown): unknown {
  if (isSealed(value) || !(isList(value) || isObject(value))) return change(value, at);
  checkDepth(at);
  if (isList(value)) return value.map((entry, i) => walk(entry, below(at, i), change));
  return mapped(value, (entry, key) => walk(entry, below(at, key), change));
}

function merged(given: unknown, earlier: unknown, at: At, problems: Problem[]): unknown {
  if (given === HIDDEN && (at.places.secret || isSealed(earlier))) return kept(earlier, at, problems);
  if (isSealed(given)) return { ...given };
  if (isList(given)) {
    checkDepth(at);
    const partners = matched(given, earlier);
    return given.map((entry, i) => merged(entry, partners[i], below(at, i), problems));
  }
  if (!isObject(given)) return given;
  checkDepth(at);
  const had: Record<string, unknown> = isObject(earlier) && !isSealed(earlier) ? earlier : {};
  return mapped(given, (entry, key) => {
    return merged(entry, Object.hasOwn(had, key) ? had[key] : undefined, below(at, key), problems);
  });
}

function kept(earlier: unknown, at: At, problems: Problem[]): unknown {
  if (isSealed(earlier)) return { ...earlier };
  if (typeof earlier === 'string' && earlier !== HIDDEN) return earlier;
  const inList = typeof at.step === 'number' || (at.above !== null && typeof at.above.step === 'number');
  problems.push({
    path: pointer(at),
    message: `is '${HIDDEN}', which keeps the earlier secret, and there is none to keep`,
    expected: 'a secret',
    got: HIDDEN,
    hint: inList
      ? 'Give the secret. Items of a list are told apart by their name or username, others by their position as long as none is removed.'
      : 'Give the secret.',
  });
  return HIDDEN;
}

/** For each item the earlier one that it was, or undefined: the second of a name is the second of that name. */
function matched(given: readonly unknown[], earlier: unknown): unknown[] {
  if (!isList(earlier)) return [];
  const named = new Map<string, unknown[]>();
  for (const item of earlier) {
    const name = nameOf(item);
    if (name === null) continue;
    const others = named.get(name);
    if (others === undefined) named.set(name, [item]);
    else others.push(item);
  }
  // If items share a name and one was removed, we cannot tell which: all of them must give their secret again.
  for (const [name, others] of named) {
    const now = given.filter((item) => nameOf(item) === name).length;
    if (others.length > 1 && now !== others.length) named.delete(name);
  }
  const inPlace = given.length >= earlier.length;
  return given.map((item, i) => {
    const name = nameOf(item);
    if (name !== null) return named.get(name)?.shift();
    return inPlace && nameOf(earlier[i]) === null ? earlier[i] : undefined;
  });
}

function nameOf(item: unknown): string | null {
  if (!isObject(item)) return null;
  for (const key of ['name', 'username']) {
    if (Object.hasOwn(item, key) && typeof item[key] === 'string') return `${key} ${item[key]}`;
  }
  return null;
}

function equal(one: unknown, other: unknown, at: At): boolean {
  if (isList(one)) {
    if (!isList(other) || one.length !== other.length) return false;
    checkDepth(at);
    return one.every((entry, i) => equal(entry, other[i], below(at, i)));
  }
  if (!isObject(one)) return one === other;
  if (!isObject(other)) return false;
  checkDepth(at);
  // JSON has no undefined: such a key is not there.
  const keys = (value: Record<string, unknown>) => Object.keys(value).filter((key) => value[key] !== undefined);
  const mine = keys(one);
  if (mine.length !== keys(other).length) return false;
  return mine.every((key) => Object.hasOwn(other, key) && equal(one[key], other[key], below(at, key)));
}

/** What `work` makes of a sealed text; where it cannot, a problem, and what was given. */
function opening(
  leaf: Record<string, unknown>,
  at: At,
  problems: Problem[],
  work: (sealed: string) => unknown,
): unknown {
  const sealed = leaf[SEALED];
  const refuse = (message: string, hint: string) => {
    problems.push({ path: pointer(at), message, expected: 'a secret that was sealed here', hint });
    return { ...leaf };
  };
  if (typeof sealed !== 'string' || Object.keys(leaf).length !== 1) {
    return refuse(
      `has a key '${SEALED}', which is reserved, and is no sealed secret`,
      'Give the secret as plain text.',
    );
  }
  try {
    return work(sealed);
  } catch (error) {
    if (!isGantryError(error) || error.code !== 'SECRET_UNREADABLE') throw error;
    return refuse('is a sealed secret that cannot be read', error.hint ?? 'Give the secret as plain text.');
  }
}

/** Whether it is meant to be: even what is malformed is never taken for plain data, nor shown. */
function isSealed(value: unknown): value is Record<string, unknown> {
  return isObject(value) && Object.hasOwn(value, SEALED);
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapped(of: Record<string, unknown>, change: (entry: unknown, key: string) => unknown): object {
  return Object.fromEntries(Object.entries(of).map(([key, entry]) => [key, change(entry, key)]));
}
