import type { TSchema } from 'typebox';
import { type Static, Type } from 'typebox';
import type { Call, Reply } from '../call.ts';
import { didYouMean, GantryError, type Problem } from '../errors.ts';
import type { Hooks } from '../hooks.ts';
import type { Logger } from '../log/log.ts';
import type { Codec } from '../ports/codec.ts';
import type { Channel, Contract, Transport } from '../ports/transport.ts';
import { compileConfig } from '../schema/check.ts';
import { copy } from '../schema/copy.ts';
import { wrapSecrets } from '../schema/secret.ts';
import { ASLEEP_MS, dispatch, type Line, type Traffic } from './dispatch.ts';
import { type Idempotency, IdempotencySettings, idempotentBy } from './idempotency.ts';
import { ChannelSecurity, type Securities } from './securities.ts';
import type { Services } from './services.ts';
import { watchSleep } from './sleep.ts';

/** One channel as it is written. */
export const ChannelDefinition = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, description: 'Unique among channels' }),
    transport: Type.String({ description: "The name of a loaded transport, e.g. 'rest'" }),
    address: Type.Record(Type.String(), Type.Unknown(), { description: "Where it is reached; the transport's own" }),
    settings: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: "How it behaves there; the transport's own" }),
    ),
    service: Type.String({ description: 'The service that answers' }),
    format: Type.Optional(Type.String({ description: 'The codec where a message names none', default: 'json' })),
    formats: Type.Optional(
      Type.Array(Type.String(), { description: 'All codecs that a message may name. Default: every loaded one' }),
    ),
    security: Type.Optional(ChannelSecurity),
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 1, default: 60_000, description: 'Longest run of a call; its signal fires then' }),
    ),
    idempotency: Type.Optional(IdempotencySettings),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: it is not bound' })),
  },
  { additionalProperties: false },
);
export type ChannelDefinition = Static<typeof ChannelDefinition>;

interface Parts {
  readonly hooks: Hooks;
  readonly log: Logger;
  readonly services: Services;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly securities: Securities;
  readonly transports: ReadonlyMap<string, Transport>;
  /** Null where nothing keeps the results of calls. */
  readonly idempotency: Idempotency | null;
}

type Validate = ReturnType<typeof compileConfig>;

interface Bound {
  readonly channel: Channel;
  readonly transport: Transport;
  readonly owner: string;
}

/** The owner of channels that are records; the others are this process's own. */
export const RECORDS = 'records';
const OWN = '';

/** Binds services to addresses. Everything that can be looked up or compiled is, before the first call. */
export class Channels {
  readonly #parts: Parts;
  readonly #bound = new Map<string, Bound>();
  readonly #schemas = new Map<TSchema, Validate>();
  readonly #traffic: Traffic = {
    inHand: 0,
    closed: new GantryError('SERVER_STARTING', 'The server is starting', { retryAfterMs: 1000 }),
    empty: null,
    seenAt: Number.POSITIVE_INFINITY,
    woke: () => {},
    behind: null,
  };

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Null; or what to wait for before a call is bound to a channel: after a long sleep it may be another one. */
  behind(): Promise<void> | null {
    const traffic = this.#traffic;
    if (performance.now() - traffic.seenAt > ASLEEP_MS) traffic.woke();
    return traffic.behind;
  }
  /** After a long sleep of this process calls wait until `catchUp` is done, at most for `ms`. Returns the undo. */
  watchSleep(catchUp: () => Promise<unknown>, ms: number): () => void {
    return watchSleep(this.#traffic, catchUp, ms, this.#parts.log);
  }

  /**
   * What is wrong with a definition; nothing is bound. `at` is its place in the config. Fills in what the schemas of
   * transport and guard have defaults for.
   */
  check(definition: ChannelDefinition, at = `channel '${definition.name}'`): readonly Problem[] {
    const { codecs, securities, transports, services } = this.#parts;
    const transport = transports.get(definition.transport);
    const problems: Problem[] = [];
    const unknown = (key: string, got: string, known: readonly string[], add: string) =>
      problems.push({
        path: `${at}.${key}`,
        message: `names what is not there: '${got}'`,
        expected: known.length > 0 ? `one of ${some(known)}` : 'something that is loaded',
        got,
        hint: didYouMean(got, known) || add,
      });
    const plugin = (port: string, got: string) => `Add ${port}.${got} to "plugins" in the config.`;
    if (transport === undefined) {
      unknown('transport', definition.transport, [...transports.keys()], plugin('transport', definition.transport));
    } else if (transport.bind === undefined || transport.address === undefined) {
      problems.push({
        path: `${at}.transport`,
        message: `'${definition.transport}' only sends`,
        hint: 'Use it in an outgoing connection.',
      });
    } else {
      problems.push(...this.#schema(transport.address)(definition.address, `${at}.address`));
      if (transport.settings !== undefined) {
        definition.settings ??= {};
        problems.push(...this.#schema(transport.settings)(definition.settings, `${at}.settings`));
      } else if (Object.keys(definition.settings ?? {}).length > 0) {
        problems.push({
          path: `${at}.settings`,
          message: `'${definition.transport}' has no settings`,
          hint: 'Remove them.',
        });
      }
    }
    const formats = [definition.format ?? 'json', ...(definition.formats ?? [])];
    for (const format of new Set(formats)) {
      if (!codecs.has(format)) unknown('format', format, [...codecs.keys()], plugin('codec', format));
    }
    if (definition.security !== undefined) {
      const { security } = definition;
      if (typeof security === 'string' || isNames(security)) {
        for (const name of namesOf(security)) {
          if (securities.has(name)) continue;
          unknown('security', name, securities.names(), 'Create the security definition first.');
        }
      } else {
        const { guard, ...own } = security;
        problems.push(...securities.check({ guard, definition: own }, `${at}.security`, ''));
        definition.security = { guard, ...own };
      }
    }
    if (!services.has(definition.service)) {
      unknown('service', definition.service, services.names(), 'Deploy it, or add its folder to "services".');
    }
    return problems;
  }

  /** Throws CHANNEL_INVALID or CHANNEL_DUPLICATE, and binds nothing then. */
  bind(definition: ChannelDefinition, owner = OWN): Channel {
    return this.bindChecked(this.#checked(definition), owner);
  }

  /** The same for a definition that check() has found nothing wrong with. Throws CHANNEL_DUPLICATE. */
  bindChecked(definition: ChannelDefinition, owner = OWN): Channel {
    if (this.#bound.has(definition.name)) throw taken(definition.name);
    const entry = this.#make(definition, owner);
    entry.transport.bind?.(entry.channel);
    this.#add(entry);
    return entry.channel;
  }

  /**
   * Replaces the channel of that name between two calls: no call finds it missing, and calls in flight end on the old
   * definition. Throws as bind() does, or if the channel has another owner; the old channel then stays bound.
   */
  rebind(definition: ChannelDefinition, owner = OWN): Channel {
    const before = this.#earlier(definition.name, owner);
    if (before === null) return this.bind(definition, owner);
    const entry = this.#make(this.#checked(definition), owner);
    this.#exchange(before, entry);
    this.#parts.hooks.channelUnbound.call(before.channel);
    this.#add(entry);
    return entry.channel;
  }

  /**
   * Throws what bindChecked() or rebind() would throw, and leaves everything as it is: no call sees it. The definition is
   * one that check() has found nothing wrong with.
   */
  try(definition: ChannelDefinition, owner = OWN): void {
    const before = this.#earlier(definition.name, owner);
    const entry = this.#make(definition, owner);
    this.#exchange(before, entry);
    entry.transport.unbind?.(entry.channel);
    before?.transport.bind?.(before.channel);
  }

  /** Whether there is one, or one of that owner's. */
  has(name: string, owner?: string): boolean {
    const entry = this.#bound.get(name);
    return entry !== undefined && (owner === undefined || entry.owner === owner);
  }

  /** Calls in flight end normally. Throws CHANNEL_NOT_FOUND. */
  unbind(name: string): void {
    const entry = this.#bound.get(name);
    if (entry === undefined) {
      throw new GantryError('CHANNEL_NOT_FOUND', `No channel is named '${name}'`, {
        hint: didYouMean(name, this.#bound.keys()),
      });
    }
    entry.transport.unbind?.(entry.channel);
    this.#bound.delete(name);
    this.#parts.hooks.channelUnbound.call(entry.channel);
  }

  /** The longest that a call may take on any of them. */
  get longestMs(): number {
    let longest = 0;
    for (const { channel } of this.#bound.values()) longest = Math.max(longest, channel.timeoutMs);
    return longest;
  }
  list(): readonly Channel[] {
    return [...this.#bound.values()].map(({ channel }) => channel);
  }
  get inHand(): number {
    return this.#traffic.inHand;
  }

  /** From now on calls are let in. */
  open(): void {
    this.#traffic.closed = null;
  }
  /** Turns new calls away. */
  close(): void {
    this.#traffic.closed = new GantryError('SERVER_DRAINING', 'The server is stopping', { retryAfterMs: 1000 });
  }
  /** Resolves with the number of calls that are left: once none is in flight, or after `ms`. */
  async drain(ms: number): Promise<number> {
    if (this.#traffic.inHand > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#traffic.empty = () => {
          if (this.#traffic.inHand > 0) return;
          clearTimeout(timer);
          resolve();
        };
      });
      this.#traffic.empty = null;
    }
    return this.#traffic.inHand;
  }

  /** A copy with the defaults filled in. Throws CHANNEL_INVALID. */
  #checked(given: ChannelDefinition): ChannelDefinition {
    const definition = copy(given);
    const at = `channel '${given.name}'`;
    // A missing service or security definition is let through: the channel answers 'unavailable' until it is there.
    const vacant = [`${at}.service`, ...(namesOf(definition.security).length > 0 ? [`${at}.security`] : [])];
    const problems = this.check(definition, at).filter((p) => !vacant.includes(p.path));
    if (problems.length === 0) return definition;
    throw new GantryError('CHANNEL_INVALID', `Channel '${definition.name}' is not valid: ${told(problems)}`, {
      problems,
    });
  }

  /** What a checked definition says, looked up and compiled, but not bound. */
  #make(definition: ChannelDefinition, owner: string): Bound {
    const { hooks, services, codecs, transports } = this.#parts;
    const at = `channel '${definition.name}'`;
    const transport = transports.get(definition.transport) as Transport;
    const slot = services.slot(definition.service);
    const codec = codecs.get(definition.format ?? 'json') as Codec;
    const line: Line = {
      slot,
      codec,
      writing: { of: null, write: null },
      guard: definition.security === undefined ? null : this.#guard(definition.security, `${at}.security`),
      timeoutMs: definition.timeoutMs ?? 60_000,
      idempotent: idempotentBy(this.#parts.idempotency, definition.idempotency),
      traffic: this.#traffic,
      invoker: services,
      log: this.#parts.log,
      received: used(hooks.received),
      before: used(hooks.before),
      after: used(hooks.after),
      failed: used(hooks.failed),
      done: used(hooks.done),
    };
    const channel: Channel = {
      name: definition.name,
      address: definition.address,
      settings: wrapSecrets(transport.settings ?? {}, definition.settings ?? {}) as Record<string, unknown>,
      codec,
      codecs: negotiable(definition, codec, codecs),
      contract: slot as Contract,
      timeoutMs: line.timeoutMs,
      run: (call: Call): Promise<Reply> => dispatch(line, call),
    };
    return { channel, transport, owner };
  }

  /** What takes part in an exchange: nobody takes the place of another's channel, e.g. of one of the admin API. */
  #earlier(name: string, owner: string): Bound | null {
    const before = this.#bound.get(name);
    if (before !== undefined && before.owner !== owner) throw taken(name);
    return before ?? null;
  }

  #exchange(before: Bound | null, entry: Bound): void {
    before?.transport.unbind?.(before.channel);
    try {
      entry.transport.bind?.(entry.channel);
    } catch (error) {
      before?.transport.bind?.(before.channel);
      throw error;
    }
  }

  #add(entry: Bound): void {
    this.#bound.set(entry.channel.name, entry);
    this.#parts.hooks.channelBound.call(entry.channel);
  }

  #guard(security: ChannelSecurity, at: string): Line['guard'] {
    const { securities } = this.#parts;
    if (typeof security === 'string' || isNames(security)) return securities.shared(namesOf(security));
    const { guard, ...own } = security;
    return securities.compile(guard, own, at);
  }

  #schema(schema: TSchema): Validate {
    let validate = this.#schemas.get(schema);
    if (validate === undefined) this.#schemas.set(schema, (validate = compileConfig(schema)));
    return validate;
  }
}

function used<H extends { isUsed(): boolean }>(hook: H): H | null {
  return hook.isUsed() ? hook : null;
}

/** There may be thousands. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
}

function negotiable({ formats }: ChannelDefinition, own: Codec, codecs: ReadonlyMap<string, Codec>): readonly Codec[] {
  const others = formats === undefined ? [...codecs.values()] : formats.map((name) => codecs.get(name) as Codec);
  return [own, ...others.filter((codec) => codec !== own)];
}

function taken(name: string): GantryError {
  return new GantryError('CHANNEL_DUPLICATE', `A channel '${name}' is bound already`);
}

function told(problems: readonly Problem[]): string {
  return problems.map((p) => `${p.path} ${p.message}`).join('; ');
}

function isNames(security: ChannelSecurity): security is readonly string[] {
  return Array.isArray(security);
}
/** The shared definitions that a channel names. */
export function namesOf(security: ChannelSecurity | undefined): readonly string[] {
  if (security === undefined) return [];
  return typeof security === 'string' ? [security] : isNames(security) ? security : [];
}
