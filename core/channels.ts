import type { TSchema } from 'typebox';
import { type Static, Type } from 'typebox';
import type { Call, Reply } from './call.ts';
import { copy } from './copy.ts';
import { dispatch, type Line, type Traffic } from './dispatch.ts';
import { didYouMean, GantryError, type Problem } from './errors.ts';
import type { Hooks } from './hooks.ts';
import type { Logger } from './log.ts';
import type { Codec } from './ports/codec.ts';
import type { Guard } from './ports/guard.ts';
import type { Channel, Contract, Transport } from './ports/transport.ts';
import { compileConfig } from './schema.ts';
import { wrapSecrets } from './secret.ts';
import type { Services } from './services.ts';

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
    security: Type.Optional(
      Type.Unsafe<{ guard: string } & Record<string, unknown>>(
        Type.Object(
          { guard: Type.String({ description: 'The name of a loaded guard' }) },
          { additionalProperties: true, description: "Who may call; `guard` and the guard's own keys" },
        ),
      ),
    ),
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 1, default: 60_000, description: 'Longest run of a call; its signal fires then' }),
    ),
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
  readonly guards: ReadonlyMap<string, Guard>;
  readonly transports: ReadonlyMap<string, Transport>;
}

type Validate = ReturnType<typeof compileConfig>;

/** Binds services to addresses. Everything that can be looked up or compiled is, before the first call. */
export class Channels {
  readonly #parts: Parts;
  readonly #bound = new Map<string, { channel: Channel; transport: Transport }>();
  readonly #schemas = new Map<TSchema, Validate>();
  readonly #traffic: Traffic = {
    inHand: 0,
    closed: new GantryError('SERVER_STARTING', 'The server is starting', { retryAfterMs: 1000 }),
    empty: null,
  };

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What is wrong with a definition; nothing is bound. `at` is its place in the config. */
  check(definition: ChannelDefinition, at = `channel '${definition.name}'`): readonly Problem[] {
    return this.#problems(copy(definition), at);
  }

  /** The same, and fills in what the schemas of transport and guard have defaults for. */
  #problems(definition: ChannelDefinition, at: string): readonly Problem[] {
    const { codecs, guards, transports, services } = this.#parts;
    const transport = transports.get(definition.transport);
    const problems: Problem[] = [];
    const unknown = (key: string, got: string, known: readonly string[], add: string) =>
      problems.push({
        path: `${at}.${key}`,
        message: `names what is not there: '${got}'`,
        expected: known.length > 0 ? `one of ${known.join(', ')}` : 'something that is loaded',
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
      const { guard: name, ...rest } = definition.security as { guard: string };
      const guard = guards.get(name);
      if (guard === undefined) unknown('security.guard', name, [...guards.keys()], plugin('guard', name));
      else problems.push(...this.#schema(guard.definition)(rest, `${at}.security`));
      definition.security = { guard: name, ...rest };
    }
    if (!services.has(definition.service)) {
      unknown('service', definition.service, services.names(), 'Deploy it, or add its folder to "services".');
    }
    return problems;
  }

  /** Throws CHANNEL_INVALID or CHANNEL_DUPLICATE, and binds nothing then. */
  bind(given: ChannelDefinition): Channel {
    const definition = copy(given);
    const { hooks, services, codecs, guards, transports } = this.#parts;
    if (this.#bound.has(definition.name)) {
      throw new GantryError('CHANNEL_DUPLICATE', `A channel '${definition.name}' is bound already`);
    }
    // A vacant service is let through: the channel answers 'unavailable' until it is deployed.
    const at = `channel '${given.name}'`;
    const problems = this.#problems(definition, at).filter((p) => p.path !== `${at}.service`);
    if (problems.length > 0) {
      throw new GantryError('CHANNEL_INVALID', `Channel '${definition.name}' is not valid: ${told(problems)}`, {
        problems,
      });
    }
    const transport = transports.get(definition.transport) as Transport;
    const slot = services.slot(definition.service);
    const codec = codecs.get(definition.format ?? 'json') as Codec;
    const { guard: guardName, ...guarded } = (definition.security ?? {}) as { guard?: string };
    const line: Line = {
      slot,
      codec,
      guard: guardName === undefined ? null : compileGuard(guards.get(guardName) as Guard, guarded),
      timeoutMs: definition.timeoutMs ?? 60_000,
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
    transport.bind?.(channel);
    this.#bound.set(channel.name, { channel, transport });
    hooks.channelBound.call(channel);
    return channel;
  }

  /** Calls in hand end as they would have. Throws CHANNEL_NOT_FOUND. */
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
  /** Resolves once no call is in hand, at most after ms; says how many were left. */
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

  #schema(schema: TSchema): Validate {
    let validate = this.#schemas.get(schema);
    if (validate === undefined) this.#schemas.set(schema, (validate = compileConfig(schema)));
    return validate;
  }
}

function used<H extends { isUsed(): boolean }>(hook: H): H | null {
  return hook.isUsed() ? hook : null;
}

function negotiable({ formats }: ChannelDefinition, own: Codec, codecs: ReadonlyMap<string, Codec>): readonly Codec[] {
  const others = formats === undefined ? [...codecs.values()] : formats.map((name) => codecs.get(name) as Codec);
  return [own, ...others.filter((codec) => codec !== own)];
}

function told(problems: readonly Problem[]): string {
  return problems.map((p) => `${p.path} ${p.message}`).join('; ');
}

function compileGuard(guard: Guard, definition: Record<string, unknown>) {
  return guard.compile(wrapSecrets(guard.definition, definition) as Record<string, unknown>);
}
