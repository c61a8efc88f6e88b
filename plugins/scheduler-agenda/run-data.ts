import { GantryError } from '../../core/api.ts';
import type { Attempt, NewRun, RunKey, Runner } from '../../core/ports/index.ts';

/** What a run needs and its job does not say; stored as JSON. */
export interface RunData {
  readonly input?: unknown;
  readonly verb?: string | null;
  readonly cid?: string;
  readonly channel?: string;
  readonly identity?: { readonly name: string; readonly roles: readonly string[] } | null;
  readonly traceparent?: string | null;
  readonly callback?: string | null;
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
  readonly timeoutMs?: number | null;
  /** The name of the user who asked for the run. */
  readonly by?: string;
}

const MOST_BYTES = 1024 * 1024;

export function dataOf({ data }: Pick<Attempt, 'data'>): RunData {
  return (data ?? {}) as RunData;
}

/** Throws INVALID for a value that cannot be stored as JSON, or is too large. */
export function checkKept(value: unknown, what: string): void {
  if (value === undefined) return;
  if (value instanceof Uint8Array || isStream(value)) throw unkept(what, 'is not JSON', value.constructor.name);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw unkept(what, 'is not JSON', cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (text === undefined) throw unkept(what, 'is not JSON', typeof value);
  const bytes = Buffer.byteLength(text);
  if (bytes > MOST_BYTES) throw unkept(what, 'is too large', `${bytes} bytes`);
}

function unkept(what: string, message: string, got: string, cause?: unknown): GantryError {
  return new GantryError('INVALID', `${what} cannot be kept: it ${message}`, {
    problems: [{ path: '/input', message, expected: `JSON of at most ${MOST_BYTES} bytes`, got }],
    hint: 'Pass a reference instead, such as the name of a file or the number of a record.',
    cause,
  });
}

function isStream(value: unknown): value is object {
  return typeof (value as { pipe?: unknown } | null)?.pipe === 'function';
}

export function keyOf({ token, attempt }: RunKey): string {
  return `${token}/${attempt}`;
}

/** The attempt as it is stored, for a row that was added as running. */
export function attemptOf({ by, reason, ...run }: NewRun & { readonly by: Runner }): Attempt {
  const { owner, server, epoch, now } = by;
  const nothing = { endedAt: null, outcome: null, code: null, dead: false };
  return { ...run, ...nothing, reason, state: 'running', owner, server, epoch, startedAt: now };
}
