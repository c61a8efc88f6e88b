import { createHash, randomUUID } from 'node:crypto';
import { type Static, Type } from 'typebox';
import type { Call, Reply } from '../call.ts';
import { type ErrorKind, GantryError, type Problem, toGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import type { Kv } from '../ports/kv.ts';
import { type Clock, every, machineClock } from '../time/clock.ts';
import type { Idempotent } from './dispatch.ts';
import { printOf } from './effects.ts';

const DEFAULTS = {
  active: true,
  required: false,
  keepMs: 86_400_000,
  leaseMs: 3000,
  withoutStore: 'serve',
} as const;

/** How a channel honours `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). */
export const IdempotencySettings = Type.Object(
  {
    active: Type.Optional(Type.Boolean({ default: DEFAULTS.active })),
    required: Type.Optional(
      Type.Boolean({
        default: DEFAULTS.required,
        description: 'Calls that change something are refused without a key',
      }),
    ),
    keepMs: Type.Optional(
      Type.Integer({
        default: DEFAULTS.keepMs,
        minimum: 1000,
        maximum: 2_592_000_000,
        description: 'How long the first result is given to repeats',
      }),
    ),
    leaseMs: Type.Optional(
      Type.Integer({
        default: DEFAULTS.leaseMs,
        minimum: 300,
        maximum: 600_000,
        description:
          'After a crash of the server that runs a call, a repeat of it waits so long before it is run again',
      }),
    ),
    withoutStore: Type.Optional(
      Type.Union([Type.Literal('serve'), Type.Literal('refuse')], {
        default: DEFAULTS.withoutStore,
        description: 'While the store of keys is away: serve as if there were no key, or refuse what has one with 503',
      }),
    ),
  },
  { additionalProperties: false },
);
export type IdempotencySettings = Required<Static<typeof IdempotencySettings>>;

/** The largest reply body that is kept. A repeat of a call with a larger one gets IDEMPOTENCY_RESULT_GONE. */
const KEPT_BYTES = 512 * 1024;
const FIRST_LOOK_MS = 15;
const LAST_LOOK_MS = 250;

/** A call in flight. `by` is unique for each run, and only its holder may renew or end the mark. */
interface Running {
  readonly state: 'running';
  readonly print: string;
  readonly by: string;
}
interface Done {
  readonly state: 'done';
  readonly print: string;
  readonly outcome: Reply['outcome'];
  readonly contentType: string;
  /** Absent: it was too large, or a stream. */
  readonly body?: { readonly text: string } | { readonly base64: string } | null;
  readonly error?: {
    readonly code: string;
    readonly kind: ErrorKind;
    readonly message: string;
    readonly problems?: readonly Problem[];
    readonly challenge?: string;
  };
  readonly notes?: {
    readonly status?: number;
    readonly headers?: Record<string, string>;
    readonly contentType?: string;
  };
}
type Mark = Running | Done;

interface Parts {
  readonly kv: Kv;
  readonly log: Logger;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** How a channel treats repeats; null where it takes no notice of keys. */
export function idempotentBy(store: Idempotency | null, given: Partial<IdempotencySettings> = {}): Idempotent | null {
  const settings: IdempotencySettings = { ...DEFAULTS, ...given };
  if (!settings.active) return null;
  return {
    required: settings.required,
    run(call, work) {
      if (call.idempotencyKey === null) {
        if (settings.required && !call.isSafe) throw keyless();
        return work();
      }
      if (store !== null) return store.run(call, settings, work);
      if (settings.withoutStore === 'refuse') throw storeless();
      return work();
    },
  };
}

/**
 * Gives repeats of a call the result of the first one. The mark of a call in flight is a lease: if its server dies, the
 * next repeat takes the lease over and runs the call again. The dead server may have written something by then; a
 * service uses `effects` to make its writes happen once.
 */
export class Idempotency {
  readonly #parts: Parts;
  readonly #clock: Clock;
  #away = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? machineClock;
  }

  /** Runs `work`, or gives what it gave before. Rejects with IDEMPOTENCY_KEY_REUSED for another input under the same key. */
  async run(call: Call, settings: IdempotencySettings, work: () => Reply | Promise<Reply>): Promise<Reply> {
    const key = `idempotency:${call.idempotencyKey}`;
    const print = fingerprint(call);
    let running: Running;
    try {
      const mark = await this.#take(call, key, print, settings);
      if (mark.state === 'done') return replayed(call, mark);
      running = mark;
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (error.code !== 'KV_UNAVAILABLE') throw thrown;
      this.#tell(error);
      if (settings.withoutStore === 'refuse') throw error;
      return work();
    }
    this.#back();
    return this.#held(key, running, settings, call, work);
  }

  /** Ours to run, or what is kept. Waits while another server runs it, as long as the call may take. */
  async #take(call: Call, key: string, print: string, { leaseMs }: IdempotencySettings): Promise<Mark> {
    const { kv } = this.#parts;
    const own: Running = { state: 'running', print, by: randomUUID() };
    let lookMs = FIRST_LOOK_MS;
    while (true) {
      if (call.aborted) throw toGantryError(call.signal.reason);
      if (await kv.swap(key, null, JSON.stringify(own), leaseMs)) return own;
      const text = await kv.get(key);
      const mark = text === null ? null : read(text);
      // Nobody can make anything of it.
      if (text !== null && mark === null) await kv.swap(key, text, null);
      if (mark !== null) {
        if (mark.print !== print) throw reused();
        if (mark.state === 'done') return mark;
        if (call.remainingMs <= lookMs) {
          throw new GantryError('CONFLICT', 'A call with this Idempotency-Key is still in hand', {
            retryAfterMs: 1000,
          });
        }
        await this.#clock.sleep(lookMs);
        lookMs = Math.min(LAST_LOOK_MS, lookMs * 1.5);
      }
    }
  }

  async #held(
    key: string,
    running: Running,
    { leaseMs, keepMs }: IdempotencySettings,
    call: Call,
    work: () => Reply | Promise<Reply>,
  ): Promise<Reply> {
    const { kv, log } = this.#parts;
    const own = JSON.stringify(running);
    const stopRenewing = every(this.#clock, leaseMs / 3, () => {
      // The lease expired while this process slept or the store was unavailable: take it again if nobody else has it.
      const renewed = kv.swap(key, own, own, leaseMs).then((held) => held || kv.swap(key, null, own, leaseMs));
      renewed.catch(() => {});
    });
    let next: string | null = null;
    try {
      const reply = await work();
      next = JSON.stringify(kept(running.print, reply, call));
      return reply;
    } catch (thrown) {
      const error = toGantryError(thrown);
      // What may pass is tried again by a repeat, and so is what was our own fault.
      if (!error.retryable && error.kind !== 'bug') next = JSON.stringify(refusal(running.print, error, call));
      throw thrown;
    } finally {
      const end = async () => {
        stopRenewing();
        const settled = await this.#settle(key, own, next, keepMs).catch(() => false);
        if (!settled)
          log.debug({ cid: call.cid, channel: call.channel }, 'the result of a call with a key is not kept');
      };
      // The call timed out but its handler is still running: a repeat must not run beside it.
      if (call.late === null) await end();
      else call.late.then(end, end);
    }
  }

  /** Also where the mark ran out and nobody took it. */
  async #settle(key: string, own: string, next: string | null, keepMs: number): Promise<boolean> {
    const { kv } = this.#parts;
    if (await kv.swap(key, own, next, keepMs)) return true;
    return next !== null && (await kv.swap(key, null, next, keepMs));
  }

  #tell(error: GantryError): void {
    if (this.#away) return;
    this.#away = true;
    this.#parts.log.warn(
      { error },
      'the store of idempotency keys is away: repeats of calls are not noticed until it is back',
    );
  }
  #back(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#parts.log.info({}, 'the store of idempotency keys is back');
  }
}

/** Null: not one of ours. */
function read(text: string): Mark | null {
  try {
    const mark = JSON.parse(text) as Partial<Mark> | null;
    return typeof mark?.print === 'string' && (mark.state === 'running' || mark.state === 'done')
      ? (mark as Mark)
      : null;
  } catch {
    return null;
  }
}

function storeless(): GantryError {
  return new GantryError('KV_UNAVAILABLE', 'Repeats of calls cannot be noticed now', {
    hint: 'No kv plugin is loaded. Add one to "plugins" in the config, or set withoutStore of the channel to serve.',
  });
}

function keyless(): GantryError {
  return new GantryError('IDEMPOTENCY_KEY_MISSING', 'This address takes calls with an Idempotency-Key only', {
    problems: [{ path: '/', message: 'the header Idempotency-Key is missing', expected: 'a new UUID for each call' }],
  });
}

/** What makes two calls the same one. Of a stream only what came before it. */
function fingerprint({ message, input }: Call): string {
  const asked = JSON.stringify([
    message.method,
    message.path,
    message.query ?? {},
    message.headers?.['content-length'],
  ]);
  return createHash('sha256').update(asked).update(printOf(input)).digest('base64');
}

function kept(print: string, { outcome, body, contentType }: Reply, call: Call): Done {
  const notes = call.notes === null ? {} : { notes: { ...call.notes } };
  const done = { state: 'done', print, outcome, contentType, ...notes } as const;
  if (body === null) return { ...done, body: null };
  if (typeof body === 'string') return Buffer.byteLength(body) > KEPT_BYTES ? done : { ...done, body: { text: body } };
  if (!(body instanceof Uint8Array) || body.byteLength > KEPT_BYTES) return done;
  return { ...done, body: { base64: Buffer.from(body).toString('base64') } };
}

function refusal(print: string, { code, kind, message, problems, challenge }: GantryError, call: Call): Done {
  const notes = call.notes === null ? {} : { notes: { ...call.notes } };
  const more = { ...(problems === undefined ? {} : { problems }), ...(challenge === undefined ? {} : { challenge }) };
  const error = { code, kind, message, ...more };
  return { state: 'done', print, outcome: kind, contentType: '', error, ...notes };
}

function replayed(call: Call, { outcome, contentType, body, error, notes }: Done): Reply {
  Object.assign(call.reply, notes, { headers: { ...notes?.headers, 'idempotency-replayed': 'true' } });
  if (error !== undefined) {
    const { code, message, ...rest } = error;
    throw new GantryError(code, message, rest);
  }
  if (body === undefined) {
    throw new GantryError('IDEMPOTENCY_RESULT_GONE', 'The call was done; its result was too large to be kept');
  }
  if (body === null) return { outcome, body, contentType, error: null };
  const content = 'text' in body ? body.text : Buffer.from(body.base64, 'base64');
  return { outcome, body: content, contentType, error: null };
}

/** The draft, 2.7, asks for 422. */
function reused(): GantryError {
  return new GantryError('IDEMPOTENCY_KEY_REUSED', 'This Idempotency-Key was used for another call', {
    problems: [
      {
        path: '/',
        message: 'differs from the call that used the key first',
        expected: 'the same call again, or a new key',
      },
    ],
  });
}
