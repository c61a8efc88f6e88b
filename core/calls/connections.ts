import { type Static, type TSchema, Type } from 'typebox';
import type { Call } from '../call.ts';
import { didYouMean, GantryError, isGantryError, type Problem, toGantryError } from '../errors.ts';
import type { Hooks } from '../hooks.ts';
import type { Logger } from '../log/log.ts';
import type { Connection, Outgoing, Outlet, Outlets, Transport } from '../ports/transport.ts';
import { compileConfig } from '../schema/check.ts';
import { wrapSecrets } from '../schema/secret.ts';
import { inTime } from '../time/deadline.ts';
import { backoffMs, pause } from '../time/retry.ts';

/** One outgoing connection as it is written. */
export const ConnectionDefinition = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, description: 'Unique among connections' }),
    transport: Type.String({ description: "The name of a loaded transport, e.g. 'rest'" }),
    options: Type.Record(Type.String(), Type.Unknown(), { description: "The transport's own: where to, how" }),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: it is not opened' })),
  },
  { additionalProperties: false },
);
export type ConnectionDefinition = Static<typeof ConnectionDefinition>;

interface Parts {
  readonly hooks: Hooks;
  readonly log: Logger;
  readonly transports: ReadonlyMap<string, Transport>;
}

interface Entry extends Outlet {
  definition: ConnectionDefinition;
  live: Connection | null;
  problem: unknown;
  /** Fires when the definition is another one, or there is none any more. */
  stopped: AbortController;
  /** For whose definition a connection is being opened; null where none is. */
  trying: AbortController | null;
  /** The definition of what is live, or was last. */
  connected: ConnectionDefinition | null;
}

/** Opens outgoing connections, keeps them open, and lends them to services by name. */
export class Connections implements Outlets {
  readonly #parts: Parts;
  readonly #entries = new Map<string, Entry>();
  readonly #schemas = new Map<TSchema, ReturnType<typeof compileConfig>>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What is wrong with a definition; nothing is opened. */
  check(definition: ConnectionDefinition, at = `connection '${definition.name}'`): readonly Problem[] {
    const { transports } = this.#parts;
    const transport = transports.get(definition.transport);
    if (transport?.connect !== undefined && transport.options !== undefined) {
      let validate = this.#schemas.get(transport.options);
      if (validate === undefined) this.#schemas.set(transport.options, (validate = compileConfig(transport.options)));
      const problems = validate(definition.options, `${at}.options`);
      return problems.length > 0 ? problems : beyondSchema(transport, definition, at);
    }
    const sending = [...transports].filter(([, t]) => t.connect !== undefined).map(([name]) => name);
    return [
      {
        path: `${at}.transport`,
        message:
          transport === undefined ? 'names a transport that is not loaded' : 'names a transport that only receives',
        expected: `one of ${sending.join(', ') || '(none is loaded)'}`,
        got: definition.transport,
        hint: didYouMean(definition.transport, sending) || `Add transport.${definition.transport} to "plugins".`,
      },
    ];
  }

  /** Throws where the definition is wrong. A system that is not there is tried again until close(), with back-off. */
  async open(definition: ConnectionDefinition): Promise<Outlet> {
    if (this.#entries.has(definition.name)) {
      throw new GantryError('CONNECTION_DUPLICATE', `A connection '${definition.name}' is open already`);
    }
    this.#refuse(definition);
    const entry = this.#entry(definition);
    this.#entries.set(definition.name, entry);
    try {
      await this.#establish(entry);
    } catch (error) {
      this.#entries.delete(definition.name);
      throw error;
    }
    return entry;
  }

  /**
   * Puts a changed definition in the place of the one of that name: services keep their outlet, messages under way end
   * as they would have, and what is there keeps serving until the new one can send. Throws CONNECTION_INVALID, and
   * changes nothing then.
   */
  async replace(definition: ConnectionDefinition): Promise<Outlet> {
    const entry = this.#entries.get(definition.name);
    if (entry === undefined) return this.open(definition);
    this.#refuse(definition);
    const { definition: before, stopped } = entry;
    entry.definition = definition;
    entry.stopped = new AbortController();
    stopped.abort(new GantryError('OUTGOING_UNAVAILABLE', 'The connection was changed'));
    try {
      await this.#establish(entry);
    } catch (error) {
      entry.definition = before;
      entry.problem = null;
      // It may have been lost meanwhile, or was being opened itself.
      if (entry.live === null || entry.connected !== before) void this.#reconnect(entry);
      throw error;
    }
    return entry;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  get(name: string): Outlet {
    const entry = this.#entries.get(name);
    if (entry !== undefined) return entry;
    throw new GantryError('CONNECTION_NOT_FOUND', 'The service needs a connection that does not exist', {
      hint: `'${name}' is not a connection. ${didYouMean(name, this.#entries.keys()) || `Open: ${[...this.#entries.keys()].join(', ') || 'none'}.`}`,
    });
  }
  find(name: string): Outlet | null {
    return this.#entries.get(name) ?? null;
  }
  list(): readonly Outlet[] {
    return [...this.#entries.values()];
  }

  async close(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    this.#entries.delete(name);
    entry.stopped.abort(new GantryError('OUTGOING_UNAVAILABLE', 'The connection was closed'));
    const live = entry.live;
    entry.live = null;
    await live?.close().catch((error: unknown) => this.#parts.log.warn({ connection: name, error }, 'close failed'));
  }
  async closeAll(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((name) => this.close(name)));
  }

  #refuse(definition: ConnectionDefinition): void {
    const problems = this.check(definition);
    if (problems.length === 0) return;
    const told = problems.map((p) => `${p.path} ${p.message}`).join('; ');
    throw new GantryError('CONNECTION_INVALID', `Connection '${definition.name}' is not valid: ${told}`, { problems });
  }

  #entry(definition: ConnectionDefinition): Entry {
    const { hooks } = this.#parts;
    const { name } = definition;
    const observe = hooks.sent.isUsed();
    const entry: Entry = {
      name,
      get transport() {
        return entry.definition.transport;
      },
      definition,
      live: null,
      problem: null,
      stopped: new AbortController(),
      trying: null,
      connected: null,
      get up() {
        return entry.live !== null;
      },
      async send<T>(message: Outgoing, call?: Call): Promise<T> {
        const startedAt = performance.now();
        let error: GantryError | null = null;
        try {
          return (await alive(entry).send(message, call)) as T;
        } catch (thrown) {
          error = toGantryError(thrown);
          throw error;
        } finally {
          if (observe) {
            hooks.sent.call({
              connection: name,
              transport: entry.transport,
              ms: performance.now() - startedAt,
              error,
              call: call ?? null,
            });
          }
        }
      },
      ping: async () => alive(entry).ping(),
    };
    return entry;
  }

  /** Connects, and keeps retrying in the background if that may help. Throws an error that no retry would fix. */
  async #establish(entry: Entry): Promise<void> {
    const { stopped } = entry;
    entry.trying = stopped;
    let done = true;
    try {
      done = await this.#connect(entry);
    } finally {
      if (done && entry.trying === stopped) entry.trying = null;
    }
    if (!done && !stopped.signal.aborted) void this.#reconnect(entry);
  }

  /** False if a retry may help. Throws an error that no retry would fix. */
  async #connect(entry: Entry): Promise<boolean> {
    const { definition, stopped } = entry;
    const transport = this.#parts.transports.get(definition.transport) as Transport;
    const options = wrapSecrets(transport.options as TSchema, definition.options) as Record<string, unknown>;
    let live: Connection | undefined;
    try {
      const lost = (reason: unknown) => live !== undefined && this.#lost(entry, live, reason);
      live = await opened(transport.connect?.(entry.name, options, { lost }));
    } catch (error) {
      if (stopped.signal.aborted) return true;
      entry.problem = error;
      if (isGantryError(error) && !error.retryable) throw error;
      return false;
    }
    if (stopped.signal.aborted) {
      await live?.close();
      return true;
    }
    const before = entry.live;
    entry.live = live ?? null;
    entry.connected = definition;
    entry.problem = null;
    if (before !== null) this.#retire(entry.name, before);
    this.#parts.hooks.connectionUp.call(entry.name);
    return true;
  }

  /** Closes the replaced connection in the background, once its messages in flight are done. */
  #retire(name: string, live: Connection): void {
    live.close().catch((error: unknown) => this.#parts.log.warn({ connection: name, error }, 'close failed'));
  }

  #lost(entry: Entry, live: Connection, reason: unknown): void {
    if (entry.live !== live) return;
    entry.live = null;
    entry.problem = reason;
    this.#parts.hooks.connectionLost.call(entry.name, reason);
    live.close().catch(() => {});
    // A changed definition may be being connected already.
    if (entry.trying !== entry.stopped) void this.#reconnect(entry);
  }

  async #reconnect(entry: Entry): Promise<void> {
    const { log } = this.#parts;
    const { name, stopped } = entry;
    const { signal } = stopped;
    entry.trying = stopped;
    log.warn({ connection: name, error: entry.problem }, 'a connection is down; it is tried again');
    for (let attempt = 1; !signal.aborted; attempt++) {
      await pause(backoffMs(attempt, { backoffMs: 200, maxBackoffMs: 15_000 }), signal).catch(() => {});
      if (signal.aborted) return;
      const up = await this.#connect(entry).catch((error: unknown) => {
        log.error({ connection: name, error }, 'a connection cannot be opened; it is not tried again');
        return null;
      });
      if (signal.aborted) return;
      if (up === true) log.info({ connection: name, attempt }, 'a connection is up');
      if (up !== false) {
        entry.trying = null;
        return;
      }
      log.debug({ connection: name, attempt, error: entry.problem }, 'a connection is still down');
    }
  }
}

const CONNECT_MS = 15_000;

/** A connect() that hangs counts as failed; what comes of it later is closed. */
async function opened(connecting: Promise<Connection> | undefined): Promise<Connection | undefined> {
  let late = false;
  connecting?.then(
    (connection) => void (late && connection.close().catch(() => {})),
    () => {},
  );
  return inTime(connecting, CONNECT_MS, () => {
    late = true;
    return new GantryError('OUTGOING_UNAVAILABLE', `Connecting took longer than ${CONNECT_MS} ms`);
  });
}

/** What only the transport itself can see. */
function beyondSchema(transport: Transport, { name, options }: ConnectionDefinition, at: string): readonly Problem[] {
  try {
    transport.checkOptions?.(name, wrapSecrets(transport.options as TSchema, options) as Record<string, unknown>);
    return [];
  } catch (thrown) {
    // What is not ours is a bug of the transport's.
    if (!isGantryError(thrown)) throw thrown;
    const { problems, message, hint } = thrown;
    // A transport does not know where in the config the connection stands.
    const placed = problems?.map((p) => ({ ...p, path: p.path.replace(`connection '${name}'`, () => at) }));
    return placed ?? [{ path: `${at}.options`, message, ...(hint === undefined ? {} : { hint }) }];
  }
}

function alive(entry: Entry): Connection {
  if (entry.live !== null) return entry.live;
  throw new GantryError('OUTGOING_UNAVAILABLE', 'A system that this service needs is not available', {
    hint: `Connection '${entry.name}' is down.`,
    cause: entry.problem,
    retryAfterMs: 1000,
  });
}
