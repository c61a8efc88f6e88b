import type { Call } from '../call.ts';
import { GantryError, isGantryError, toGantryError } from '../errors.ts';
import type { Meter } from '../ports/stats.ts';
import type { Contract } from '../ports/transport.ts';
import { type Check, type Clean, compileCheck, compileOutput, hasDefaults, type When } from '../schema/check.ts';
import { type Coerce, compileCoerce } from '../schema/coerce.ts';
import { contentOf, type Handler, type Handlers, type Service } from '../service.ts';

/** The place of one service. Channels hold the slot, so a redeploy is an assignment and no lookup. */
export interface Slot extends Contract {
  readonly name: string;
  /** Null while nothing is deployed here. */
  service: Service | null;
  handle: Handler;
  /** Null where any value will do. */
  check: Check | null;
  coerce: Coerce;
  /** Null where any value will do. */
  output: Clean | null;
  input: 'value' | 'bytes' | 'stream';
  gives: 'value' | 'bytes' | 'stream';
  verbs: readonly string[] | null;
  example: unknown;
  timeoutMs: number | null;
  meter: Meter | null;
  /** Whether the check may write defaults into its input. */
  defaults: boolean;
}

/** What of a slot is the service's own, with what can be made of it before the first call; its schemas `when` it is said. */
export function compiled(service: Service, handlers: Handlers<unknown, unknown>, of: string, when: When = 'now') {
  return {
    service,
    handle: typeof handlers === 'function' ? handlers : byVerb(handlers, of),
    verbs: typeof handlers === 'function' ? null : Object.keys(handlers),
    input: contentOf(service.input),
    gives: contentOf(service.output),
    check: isAny(service.input) ? null : compileCheck(service.input, of, when),
    coerce: compileCoerce(service.input),
    output:
      isAny(service.output) || contentOf(service.output) !== 'value' ? null : compileOutput(service.output, of, when),
    example: (service.input as { examples?: unknown[] }).examples?.[0],
    timeoutMs: service.timeoutMs ?? null,
    defaults: hasDefaults(service.input),
  };
}

/** The handlers that create() of a service gave. Throws SERVICE_INVALID where they are none, or it failed. */
export function built(create: () => unknown, of: string): Handlers<unknown, unknown> {
  let handlers: unknown;
  try {
    handlers = create();
  } catch (cause) {
    const hint = isGantryError(cause) ? cause.hint : undefined;
    throw new GantryError('SERVICE_INVALID', `create() of ${of} failed: ${reason(cause)}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if (typeof handlers === 'function') return handlers as Handler;
  const verbs = Object.entries((handlers ?? {}) as Record<string, unknown>);
  if (verbs.length > 0 && verbs.every(([verb, fn]) => typeof fn === 'function' && verb === verb.toLowerCase())) {
    return handlers as Handlers<unknown, unknown>;
  }
  throw new GantryError('SERVICE_INVALID', `create() of ${of} gave neither a handler nor handlers by verb`, {
    hint: 'Return (input, call) => output, or { get: (input, call) => output, post: ... }.',
  });
}

/** Throws INPUT_INVALID with the path of what does not fit. */
export function checkInput(slot: Slot, input: unknown): void {
  if (slot.check === null) return;
  const problems = slot.check(input);
  if (problems.length === 0) return;
  const [first] = problems;
  throw new GantryError('INPUT_INVALID', `${first?.path || 'The input'} ${first?.message}`, { problems });
}

/** A timer set for longer fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** The same for one service that invokes another: wrong input is the invoking service's bug, not its caller's. */
function checkInvoked(slot: Slot, input: unknown): void {
  try {
    checkInput(slot, input);
  } catch (cause) {
    const hint = `'${slot.name}' was invoked with an input that does not fit its schema: ${toGantryError(cause).message}.`;
    throw new GantryError('INVOCATION_INVALID', 'The service failed', { cause, hint });
  }
}

/** Runs what a service of ours asked for. */
export async function invoked(slot: Slot, input: unknown, call: Call): Promise<unknown> {
  call.input = slot.defaults ? structuredClone(input) : input;
  const { output: clean } = slot;
  checkInvoked(slot, call.input);
  const output = await within(slot.handle(call.input, call), call, slot.name);
  return clean === null ? output : clean(output);
}

/** A promise, ours or another's: query builders, for one, give thenables. */
export function isThenable(value: unknown): value is Promise<unknown> {
  if (value instanceof Promise) return true;
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/**
 * Waits for a handler as long as the call may run. A late result is dropped; the handler hears of it by its signal.
 * What is not a promise costs nothing here.
 */
export async function within(running: unknown, call: Call, service: string): Promise<unknown> {
  if (!isThenable(running) || call.deadlineAt === Number.POSITIVE_INFINITY) return running;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const give = () => {
      const error = new GantryError('CALL_TIMEOUT', 'The service did not answer in time', {
        hint: `${service} was told by call.signal. Its own timeoutMs, its caller's or the channel's sets the limit.`,
      });
      // First the answer: a handler that fails at once when it hears of it would be faster.
      reject(error);
      call.late = running as Promise<unknown>;
      call.abort(error);
    };
    timer = setTimeout(give, Math.min(call.remainingMs, LONGEST_MS));
  });
  try {
    return await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

function byVerb(handlers: Readonly<Record<string, Handler>>, of: string): Handler {
  const allowed = Object.keys(handlers);
  return (input, call) => {
    const verb = call.verb?.toLowerCase() ?? '';
    const handle = Object.hasOwn(handlers, verb)
      ? handlers[verb]
      : verb === 'head' && Object.hasOwn(handlers, 'get')
        ? handlers['get']
        : undefined;
    if (handle !== undefined) return handle(input, call);
    const code = call.parent === null ? 'METHOD_UNSUPPORTED' : 'INVOCATION_INVALID';
    throw new GantryError(code, `The service has no handler for '${verb || 'no verb'}'`, {
      hint: `${of} handles ${allowed.join(', ')}.`,
    });
  };
}

export function vacant(name: string): Slot {
  const handle = () => {
    throw new GantryError('SERVICE_NOT_DEPLOYED', 'The service is not available', {
      hint: `'${name}' is not deployed: its file was refused at start, or it was retired.`,
    });
  };
  const same: Coerce = (value) => value;
  return {
    name,
    service: null,
    handle,
    check: null,
    coerce: same,
    output: null,
    input: 'value',
    gives: 'value',
    verbs: null,
    example: undefined,
    timeoutMs: null,
    meter: null,
    defaults: false,
  };
}

/** Type.Any() and Type.Unknown() have no keyword that a value could break. */
function isAny(schema: object): boolean {
  return Object.keys(schema).every((key) => ['description', 'title', 'examples', 'content'].includes(key));
}

function reason(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
