import { asValue, createContainer, InjectionMode } from 'awilix';
import type { Membership } from '../cluster/membership.ts';
import { freeze } from '../config/config.ts';
import type { FixtureLists, Fixtures } from '../config/fixtures.ts';
import type { Cradle } from '../cradle.ts';
import { GantryError, isGantryError, type Problem, refuse, toGantryError } from '../errors.ts';
import { createHooks, type Hooks, sealHooks } from '../hooks.ts';
import { load } from '../loading/plugins.ts';
import type { ServiceFile } from '../loading/services.ts';
import type { Logger } from '../log/log.ts';
import { nameOf, PORTS, portOf } from '../ports/index.ts';
import type { Operations } from '../records/operations.ts';
import { wrapSecrets } from '../schema/secret.ts';
import type { ServerInfo } from '../server.ts';
import type { Service } from '../service.ts';
import { inTime } from '../time/deadline.ts';
import { type WiringOptions, wire } from '../wiring.ts';
import { problemsOf, settleBlock } from './blocks.ts';
import { order } from './order.ts';
import type { Lifecycle, Loaded } from './plugin.ts';

interface Unit {
  readonly id: string;
  readonly stage: number;
  readonly optional: boolean;
  readonly instance: Lifecycle;
  readonly withdraw: () => void;
}

export interface KernelOptions extends WiringOptions {
  /** For each plugin. */
  readonly startTimeoutMs?: number;
  /** How long stop() waits for calls in hand. */
  readonly graceMs?: number;
}

type State = ServerInfo['state'];
const EDGE = 2;
const STOP_MS = 10_000;
/** Longer than any time to linger. */
const LEAVE_MS = 610_000;
/** How long calls wait, after a sleep of this process, for what changed meanwhile. */
const CATCH_UP_MS = 3000;

/** Wires plugins, starts them in order, stops them in reverse. Knows no plugin by name. */
export class Kernel {
  readonly hooks: Hooks = createHooks();
  readonly log: Logger;
  readonly #container = createContainer<Cradle>({ injectionMode: InjectionMode.PROXY, strict: true });
  readonly #options: KernelOptions;
  readonly #units: Unit[] = [];
  #started: Unit[] = [];
  #state: State = 'starting';
  /** Optional plugins that did not start: their taps are passed over. */
  readonly #gone = new Set<string>();
  #refused = 0;
  #stopping: Promise<void> | null = null;
  #fixtures!: Fixtures;
  #operations: Operations | null = null;
  #membership: Membership | null = null;
  #endWatch: () => void = () => {};

  constructor(options: KernelOptions) {
    this.#options = options;
    this.log = options.logs.for('core');
  }

  /** Everything that was wired, by token. */
  get cradle(): Cradle {
    return this.#container.cradle;
  }
  get state(): State {
    return this.#state;
  }

  /** Checks every block, then builds every instance. No I/O. Throws CONFIG_INVALID with all problems. */
  create(loaded: readonly Loaded[]): this {
    const settled = loaded.map(settleBlock);
    refuse(settled.flatMap(problemsOf));
    this.#registerCore(new Set(settled.map(({ plugin }) => portOf(plugin.id))));
    const kernelTokens = new Set(Object.keys(this.#container.registrations));
    for (const one of order(settled, kernelTokens)) this.#create(one);
    this.#freeOptional();
    sealHooks(this.hooks, new Set(loaded.map((l) => l.id)), this.log, this.#gone);
    return this;
  }

  /** Makes services live. Throws SERVICE_DUPLICATE or SERVICE_INVALID. */
  deploy(services: readonly (Service | { readonly service: Service; readonly name: string })[]): this {
    for (const one of services) {
      const { service, name } = 'service' in one ? one : { service: one, name: one.name };
      if (name !== undefined && this.cradle.services.has(name)) {
        throw new GantryError('SERVICE_DUPLICATE', `Two services are named '${name}'`);
      }
      this.cradle.services.deploy(service, name);
    }
    return this;
  }

  /** The same for files: a broken one is logged with its path and reason, and the rest is deployed. */
  deployFiles(files: readonly ServiceFile[]): readonly GantryError[] {
    const refused: GantryError[] = [];
    const first = new Map<string, string>();
    for (const one of files) {
      try {
        if ('refused' in one) throw one.refused;
        const other = first.get(one.name);
        if (other !== undefined) {
          throw new GantryError('SERVICE_DUPLICATE', `'${one.name}' is the name of the service in ${other} already`);
        }
        this.deploy([one]);
        first.set(one.name, one.file);
      } catch (thrown) {
        const error = toGantryError(thrown);
        const told = error.code === 'SERVICE_FILE_INVALID';
        refused.push(
          told ? error : new GantryError('SERVICE_FILE_INVALID', `${one.file}: ${error.message}`, { cause: thrown }),
        );
      }
    }
    for (const error of refused) this.log.error({ error }, 'a service file was refused; the rest is served');
    this.#refused += refused.length;
    return refused;
  }

  /** Binds nothing and opens nothing; lists what is wrong with the definitions of a config. */
  check(lists: FixtureLists): Problem[] {
    return this.#fixtures.check(lists);
  }

  /** Binds the channels without letting calls in. Throws CONFIG_INVALID with all that cannot be bound. */
  bind(lists: FixtureLists): this {
    this.#fixtures.bind(lists, this.#refused > 0);
    return this;
  }

  /** Stores and logic, connections, then the edges that let calls in. On a failure stops what had started. */
  async start(lists: FixtureLists = {}): Promise<this> {
    try {
      this.bind(lists);
      await this.#startUnits((stage) => stage < EDGE);
      if (this.#stopping === null) await Promise.all([this.#operations?.start(), this.#fixtures.open()]);
      this.#fixtures.tellVacant();
      await this.#startUnits((stage) => stage === EDGE);
      if (this.#stopping !== null) return this;
      const { startTimeoutMs = 15_000 } = this.#options;
      await this.#membership?.claim();
      const late = `A tap of hook 'ready' did not end in ${startTimeoutMs} ms`;
      await within(startTimeoutMs, this.hooks.ready.promise(), late);
      if (this.#stopping !== null) return this;
      this.cradle.channels.open();
      this.#state = 'ready';
      const catchUp = async () => this.#operations?.catchUp();
      this.#endWatch = this.cradle.channels.watchSleep(catchUp, CATCH_UP_MS);
      await this.#membership?.join();
      return this;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Turns new calls away, waits for those in hand, stops in reverse. May be called at any time, and again. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { graceMs = 30_000 } = this.#options;
    const wired = this.#units.length > 0;
    this.#state = 'draining';
    if (wired) {
      const { channels, services, connections } = this.cradle;
      this.#endWatch();
      // Calls are served until the balancers know.
      await within(LEAVE_MS, this.#membership?.leave(), 'The cluster was not told').catch(() => {});
      channels.close();
      const late = `A tap of hook 'draining' did not end in ${STOP_MS} ms`;
      await within(STOP_MS, this.hooks.draining.promise(), late).catch((error: unknown) =>
        this.log.error({ error }, 'draining failed'),
      );
      for (const { id, instance } of this.#started) {
        try {
          instance.pause?.();
        } catch (error) {
          this.log.error({ plugin: id, error }, 'pause failed');
        }
      }
      const until = performance.now() + graceMs;
      const left = await channels.drain(graceMs);
      if (left > 0)
        this.log.warn({ left, graceMs }, 'calls were still in hand when the time to wait for them was over');
      await services.settle(until - performance.now());
      await within(STOP_MS, this.#membership?.stop(), 'The cluster was not told').catch(() => {});
      await within(STOP_MS, this.#operations?.stop(), 'The records did not settle').catch((error: unknown) =>
        this.log.error({ error }, 'leaving the records failed'),
      );
      if (services.background > 0) this.log.warn({ left: services.background }, 'asynchronous calls were cut off');
      await within(STOP_MS, connections.closeAll(), 'A connection did not close').catch((error: unknown) =>
        this.log.error({ error }, 'closing connections failed'),
      );
    }
    for (let unit = this.#started.pop(); unit !== undefined; unit = this.#started.pop()) {
      const { id } = unit;
      await stopped(unit).catch((error: unknown) => this.log.error({ plugin: id, error }, 'stop failed'));
    }
    this.#state = 'stopped';
  }

  async #startUnits(wanted: (stage: number) => boolean): Promise<void> {
    const { startTimeoutMs = 15_000 } = this.#options;
    for (const unit of this.#units.filter((u) => wanted(u.stage))) {
      if (this.#stopping !== null) return;
      const { id, instance } = unit;
      // Counts as started before it has: stop() must also close what is half-started.
      this.#started.push(unit);
      try {
        const text = `${id} did not start in ${startTimeoutMs} ms`;
        await within(startTimeoutMs, instance.start?.(), text);
      } catch (thrown) {
        const error = isGantryError(thrown)
          ? thrown
          : new GantryError(
              'PLUGIN_START_FAILED',
              `${id} did not start: ${(thrown as Error)?.message ?? String(thrown)}`,
              {
                cause: thrown,
              },
            );
        if (!unit.optional) throw error;
        this.log.warn({ plugin: id, error }, 'an optional plugin did not start; the rest goes on');
        this.#started.pop();
        unit.withdraw();
        this.#gone.add(id);
        await stopped(unit).catch(() => {});
      }
    }
  }

  #create({ id, plugin, config, optional = false }: Loaded): void {
    const port = PORTS[portOf(plugin.id)];
    const own = {
      id,
      config: freeze(wrapSecrets(plugin.config, config)),
      hooks: this.hooks,
      log: this.#options.logs.for(id),
      load: (specifier: string) => load(specifier, this.#options.dir ?? process.cwd()),
    };
    const asked = [...(plugin.needs ?? []), ...(plugin.wants ?? [])];
    const given = Object.fromEntries(
      asked.map((token) => [token, this.#container.hasRegistration(token) ? this.#container.resolve(token) : null]),
    );
    let instance: Lifecycle & Record<string, unknown>;
    try {
      instance = plugin.create({ ...given, ...own } as never) as Lifecycle & Record<string, unknown>;
    } catch (cause) {
      if (isGantryError(cause)) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new GantryError('PLUGIN_MALFORMED', `create() of ${id} failed: ${reason}`, { cause });
    }
    if (instance instanceof Promise) instance.catch(() => {});
    if (typeof instance !== 'object' || instance === null || instance instanceof Promise) {
      throw new GantryError('PLUGIN_MALFORMED', `create() of ${id} gave no instance`, {
        hint: 'create() is sync and returns the methods of its port; connecting belongs in start().',
      });
    }
    const missing = port.methods.filter((method) => typeof instance[method] !== 'function');
    if (missing.length > 0) {
      throw new GantryError('PLUGIN_MALFORMED', `${id} lacks ${missing.join(', ')}`, {
        hint: `Its port is described in core/ports/${portOf(plugin.id)}.ts.`,
      });
    }
    let withdraw = () => {};
    if (port.many) {
      const map = this.#container.resolve(port.token as 'features') as Map<string, object>;
      map.set(nameOf(id), instance);
      withdraw = () => void map.delete(nameOf(id));
    } else this.#container.register(port.token, asValue(instance));
    this.#units.push({ id, stage: port.stage, optional, instance, withdraw });
  }

  /** A service may ask for a port that no plugin gives. */
  #freeOptional(): void {
    for (const { many, token } of Object.values(PORTS)) {
      if (!many && !this.#container.hasRegistration(token)) this.#container.register(token, asValue(null));
    }
  }

  #registerCore(ports: ReadonlySet<string>): void {
    const { logs } = this.#options;
    const maps = Object.values(PORTS).filter((p) => p.many);
    for (const { token } of maps) this.#container.register(token, asValue(new Map()));
    const { hooks, log, cradle } = this;
    const [hasOdb, hasKv] = [ports.has('odb'), ports.has('kv')];
    const state = () => this.#state;
    const { fixtures, operations, membership, ...parts } = wire({
      ...{ options: this.#options, cradle, hooks, log, hasOdb, hasKv, state },
    });
    this.#fixtures = fixtures;
    this.#operations = operations;
    this.#membership = membership;
    this.#container.register({
      logs: asValue(logs),
      ...Object.fromEntries(Object.entries(parts).map(([token, part]) => [token, asValue(part)])),
      ...(membership === null ? {} : { cluster: asValue(membership) }),
    });
    if (operations === null) return;
    const { records, sessions } = operations;
    this.#container.register({ records: asValue(records), sessions: asValue(sessions) });
  }
}

/** Closes one plugin, in bounded time, however it fails. */
async function stopped({ id, instance }: Unit): Promise<void> {
  await within(STOP_MS, instance.stop?.(), `${id} did not stop in ${STOP_MS} ms`);
}

/** A plugin that hangs must not hang the rest. */
function within(ms: number, work: Promise<unknown> | undefined, text: string): Promise<unknown> {
  const hint = 'It may wait for something that is not there.';
  return inTime(work, ms, () => new GantryError('PLUGIN_START_TIMEOUT', text, { hint }));
}
