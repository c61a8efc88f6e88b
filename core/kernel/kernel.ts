import { asFunction, asValue, createContainer, InjectionMode } from 'awilix';
import { GantryError, isGantryError, type Problem, refuse } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import { nameOf, PORTS, portOf } from '../ports/table.ts';
import { freeze } from '../schema/copy.ts';
import { wrapSecrets } from '../schema/secret.ts';
import { inTime } from '../time/deadline.ts';
import { problemsOf, settleBlock } from './blocks.ts';
import { availability, order } from './order.ts';
import type { Part, Parts } from './part.ts';
import type { Lifecycle, Loaded } from './plugin.ts';
import { type Hooks, sealHooks } from './taps.ts';

interface Unit {
  readonly id: string;
  readonly stage: number;
  readonly optional: boolean;
  readonly instance: Lifecycle;
  readonly withdraw: () => void;
}

export interface KernelOptions<C extends object> {
  readonly logs: { for(id: string): Logger };
  /** What plugins tap in create(). */
  readonly hooks: Hooks;
  /** Tokens that are there from the start. */
  readonly values: Partial<C>;
  readonly parts: Parts;
  /** Imports what an operator named in a plugin's block. */
  load(specifier: string): Promise<unknown>;
  /** For each plugin. */
  readonly startTimeoutMs: number;
}

/** The stage of plugins that let calls in: they start last. */
const EDGE = 2;
const STOP_MS = 10_000;

/** Wires plugins, starts them in order, stops them in reverse. Knows no plugin and no capability by name. */
export class Kernel<C extends object = Record<string, unknown>> {
  readonly #options: KernelOptions<C>;
  readonly #log: Logger;
  readonly #container = createContainer<C>({ injectionMode: InjectionMode.PROXY, strict: true });
  readonly #units: Unit[] = [];
  #started: Unit[] = [];
  /** Optional plugins that did not start: their taps are passed over. */
  readonly #gone = new Set<string>();
  #isStopping = false;

  constructor(options: KernelOptions<C>) {
    this.#options = options;
    this.#log = options.logs.for('core');
  }

  /** Everything that was made, by token. */
  get cradle(): C {
    return this.#container.cradle;
  }

  /**
   * Checks every block, then makes every plugin and every part. No I/O. Throws CONFIG_INVALID with all problems, those
   * among them that were `found` before; what is wrong at one place is reported once.
   */
  create(loaded: readonly Loaded[], found: readonly Problem[] = []): void {
    const settled = loaded.map(settleBlock);
    const own = settled.flatMap(problemsOf);
    refuse([...found, ...own.filter((one) => !found.some(({ path }) => path === one.path))]);
    const stock = this.#stock();
    const isThere = availability(settled, stock);
    for (const [token, part] of Object.entries(stock.parts)) this.#registerPart(token, isThere(token) ? part : null);
    for (const step of order(settled, stock)) {
      if ('plugin' in step) this.#create(step.plugin);
      else this.#container.resolve(step.part);
    }
    this.#freeOptional();
    sealHooks(this.#options.hooks, new Set(loaded.map(({ id }) => id)), this.#log, this.#gone);
  }

  /** Starts the plugins that let calls in (`edges`), or all others. Rejects with what failed. */
  async start(edges: boolean): Promise<void> {
    for (const unit of this.#units.filter(({ stage }) => (stage === EDGE) === edges)) {
      if (this.#isStopping) return;
      await this.#start(unit);
    }
  }

  /** From now on nothing more is started. */
  halt(): void {
    this.#isStopping = true;
  }

  /** From now on no plugin takes anything new. */
  pause(): void {
    for (const { id, instance } of this.#started) {
      try {
        instance.pause?.();
      } catch (error) {
        this.#log.error({ plugin: id, error }, 'pause failed');
      }
    }
  }

  /** Stops what has started, in reverse. Never rejects. */
  async stop(): Promise<void> {
    this.halt();
    for (let unit = this.#started.pop(); unit !== undefined; unit = this.#started.pop()) {
      const { id } = unit;
      await stopped(unit).catch((error: unknown) => this.#log.error({ plugin: id, error }, 'stop failed'));
    }
  }

  #stock() {
    const { values, parts } = this.#options;
    for (const [token, value] of Object.entries(values)) this.#container.register(token, asValue(value));
    for (const { token, many } of Object.values(PORTS)) {
      if (many) this.#container.register(token, asValue(new Map()));
    }
    return { values: new Set(Object.keys(values)), parts };
  }

  #registerPart(token: string, part: Part | null): void {
    if (part === null) this.#container.register(token, asValue(null));
    else this.#container.register(token, asFunction(() => part.create(this.#given(part) as never)).singleton());
  }

  /** What a plugin or a part asked for. */
  #given({ needs = [], wants = [] }: Pick<Part, 'needs' | 'wants'>): Record<string, unknown> {
    const tokens = [...needs, ...wants];
    return Object.fromEntries(
      tokens.map((token) => [token, this.#container.hasRegistration(token) ? this.#container.resolve(token) : null]),
    );
  }

  async #start(unit: Unit): Promise<void> {
    const { startTimeoutMs } = this.#options;
    const { id, instance } = unit;
    // Counts as started before it has: stop() must also close what is half-started.
    this.#started.push(unit);
    try {
      await within(startTimeoutMs, instance.start?.(), `${id} did not start in ${startTimeoutMs} ms`);
    } catch (thrown) {
      const error = isGantryError(thrown) ? thrown : startFailed(id, thrown);
      if (!unit.optional) throw error;
      this.#log.warn({ plugin: id, error }, 'an optional plugin did not start; the rest goes on');
      this.#started.pop();
      unit.withdraw();
      this.#gone.add(id);
      await stopped(unit).catch(() => {});
    }
  }

  #create({ id, plugin, config, optional = false }: Loaded): void {
    const port = PORTS[portOf(plugin.id)];
    const { hooks, logs, load } = this.#options;
    const own = { id, config: freeze(wrapSecrets(plugin.config, config)), hooks: hooks.table, log: logs.for(id), load };
    const instance = made(id, () => plugin.create({ ...this.#given(plugin), ...own } as never));
    const missing = port.methods.filter((method) => typeof instance[method] !== 'function');
    if (missing.length > 0) {
      throw new GantryError('PLUGIN_MALFORMED', `${id} lacks ${missing.join(', ')}`, {
        hint: `Its port is described in core/ports/${portOf(plugin.id)}.ts.`,
      });
    }
    let withdraw = () => {};
    if (port.many) {
      const map = this.#container.resolve<Map<string, object>>(port.token);
      map.set(nameOf(id), instance);
      withdraw = () => void map.delete(nameOf(id));
    } else this.#container.register(port.token, asValue(instance));
    this.#units.push({ id, stage: port.stage, optional, instance: instance as Lifecycle, withdraw });
  }

  /** A port that no plugin gives is null. */
  #freeOptional(): void {
    for (const { many, token } of Object.values(PORTS)) {
      if (!many && !this.#container.hasRegistration(token)) this.#container.register(token, asValue(null));
    }
  }
}

/** The instance of a plugin. Throws PLUGIN_MALFORMED. */
function made(id: string, create: () => object): Record<string, unknown> {
  let instance: object;
  try {
    instance = create();
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
  return instance as Record<string, unknown>;
}

function startFailed(id: string, cause: unknown): GantryError {
  const reason = (cause as Error)?.message ?? String(cause);
  return new GantryError('PLUGIN_START_FAILED', `${id} did not start: ${reason}`, { cause });
}

/** Closes one plugin, in bounded time, however it fails. */
async function stopped({ id, instance }: Unit): Promise<void> {
  await within(STOP_MS, instance.stop?.(), `${id} did not stop in ${STOP_MS} ms`);
}

/** A plugin that hangs must not hang the rest. Rejects with PLUGIN_START_TIMEOUT. */
export function within(ms: number, work: Promise<unknown> | undefined, text: string): Promise<unknown> {
  const hint = 'It may wait for something that is not there.';
  return inTime(work, ms, () => new GantryError('PLUGIN_START_TIMEOUT', text, { hint }));
}
