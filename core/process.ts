import path from 'node:path';
import { ClusterConfig } from './cluster/cluster.ts';
import { surveyConfig } from './config/config.ts';
import type { FixtureLists } from './config/fixtures.ts';
import { findPlugins } from './config/plugins.ts';
import { Config } from './config/root.ts';
import { loader } from './doors.ts';
import { GantryError, type Problem, refuse, toGantryError } from './errors.ts';
import { createHooks, DECIDING, type Hooks } from './hooks.ts';
import { Kernel, within } from './kernel/kernel.ts';
import type { Loaded } from './kernel/plugin.ts';
import type { ServiceFile } from './loading/services.ts';
import type { Logger, Logs } from './log/log.ts';
import { type Secret, wrapSecrets } from './schema/secret.ts';
import { Keyring } from './secrets/keyring.ts';
import { OwnServer, type ServerInfo } from './server.ts';
import type { Service } from './service.ts';
import { depsOf, type Everything, PARTS, type Wired } from './wiring.ts';

export { loader } from './doors.ts';

export interface ProcessOptions {
  readonly logs: Logs;
  readonly name?: string;
  readonly version?: string;
  /** The folder that operators' own paths are relative to. */
  readonly dir?: string;
  /** Where this process may keep files. */
  readonly data?: string;
  /** The keys that seal secrets in the database. Default: a file in the data folder. */
  readonly secrets?: { readonly keys?: Secret; readonly file?: string };
  /** Time between two looks at the change log when no change is reported. Default: 2000. */
  readonly pollMs?: number;
  /** Kinds of records that are put into effect here; the others are looked up only. Default: all. */
  readonly follows?: readonly string[] | undefined;
  /** With a token that is not empty, this process is a member of a cluster. */
  readonly cluster?: ClusterConfig | undefined;
  /** Ends this process in an orderly way, so that its supervisor starts it again. */
  readonly onRestart?: () => void;
  /** For each plugin. */
  readonly startTimeoutMs?: number;
  /** How long stop() waits for calls in flight. */
  readonly graceMs?: number;
}

type State = ServerInfo['state'];

interface Named {
  readonly name: string;
  readonly service: Service;
  /** Its schemas are known to be valid. */
  readonly isOurs?: boolean;
}

const STOP_MS = 10_000;
/** Longer than the greatest lingerMs of a cluster. */
const LEAVE_MS = 610_000;
/** After this process was suspended, calls wait at most this long for the changes that it missed. */
const CATCH_UP_MS = 3000;
/** A change that is not reported is noticed at most this much later. */
const POLL_MS = 2000;

/** One server process: creates its parts by the config, checks them, starts them and stops them. */
export class Process {
  readonly hooks: Hooks = createHooks();
  readonly log: Logger;
  readonly #options: ProcessOptions;
  readonly #server: OwnServer;
  readonly #kernel: Kernel<Everything>;
  #isCreated = false;
  #refused = 0;
  #stopping: Promise<void> | null = null;
  #endWatch: () => void = () => {};

  constructor(options: ProcessOptions) {
    const { logs, dir = process.cwd(), startTimeoutMs = 15_000, cluster } = options;
    const { name = 'gantry', version = '0', data = path.resolve('data') } = options;
    const { pollMs = POLL_MS, follows = null, secrets = {}, onRestart = () => {} } = options;
    const { hooks } = this;
    this.#options = options;
    this.log = logs.for('core');
    const server = new OwnServer({ name, version, data });
    this.#server = server;
    const isMember = cluster !== undefined && cluster.token.reveal() !== '';
    this.#kernel = new Kernel<Everything>({
      logs,
      hooks: { table: hooks, deciding: DECIDING },
      values: {
        given: { ...{ hooks, log: this.log, loader, server, dir, secrets, onRestart }, records: { pollMs, follows } },
        ...(isMember ? { membershipConfig: cluster } : {}),
        server,
        logs,
      },
      parts: PARTS,
      load: (specifier) => loader.module(specifier, dir),
      startTimeoutMs,
    });
  }

  /** Everything that was made, by token. A token that no plugin provides is null. */
  get cradle(): Everything {
    return this.#kernel.cradle;
  }
  get state(): State {
    return this.#server.state;
  }

  /**
   * Checks every plugin's block, then makes every instance. No I/O. Throws CONFIG_INVALID with all problems, including
   * those that were `found` before.
   */
  create(loaded: readonly Loaded[], found: readonly Problem[] = []): this {
    this.#kernel.create(loaded, found);
    const all: Wired = this.cradle;
    all.recordKinds.refuseTwice();
    all.services.equip({
      build: (service, name) => service.create(depsOf(all, name, service.errors) as never),
      scheduler: all.scheduler,
    });
    this.#isCreated = true;
    return this;
  }

  /** Makes services live. Throws SERVICE_DUPLICATE or SERVICE_INVALID. */
  deploy(services: readonly (Service | Named)[]): this {
    for (const one of services) {
      const { service, name, isOurs = false } = 'service' in one ? one : { service: one, name: one.name };
      if (name !== undefined && this.cradle.services.has(name)) {
        throw new GantryError('SERVICE_DUPLICATE', `Two services are named '${name}'`);
      }
      this.cradle.services.deploy(service, name, isOurs ? 'later' : 'now');
    }
    return this;
  }

  /**
   * Deploys service files. A broken file is logged with its path and the reason, and returned; the rest is deployed.
   */
  deployFiles(files: readonly ServiceFile[]): readonly GantryError[] {
    const refused: GantryError[] = [];
    const first = new Map<string, string>();
    for (const one of files) {
      try {
        if ('refused' in one) throw one.refused;
        for (const { name, service } of this.#servicesOf(one)) {
          const other = first.get(name);
          if (other !== undefined) {
            throw new GantryError('SERVICE_DUPLICATE', `'${name}' is the name of the service in ${other} already`);
          }
          this.deploy([{ name, service, isOurs: one.isOurs }]);
          first.set(name, one.file);
        }
      } catch (thrown) {
        const error = toGantryError(thrown);
        const isNamed = error.code === 'SERVICE_FILE_INVALID';
        refused.push(
          isNamed ? error : new GantryError('SERVICE_FILE_INVALID', `${one.file}: ${error.message}`, { cause: thrown }),
        );
      }
    }
    for (const error of refused) this.log.error({ error }, 'a service file was refused; the rest is served');
    this.#refused += refused.length;
    return refused;
  }

  /** The services of a file: the one that it exports, or those that it makes for the loaded plugins. */
  #servicesOf(file: Exclude<ServiceFile, { readonly refused: GantryError }>): Named[] {
    if (!('make' in file)) return [file];
    const made = file.make(depsOf(this.cradle, file.name) as never);
    return made.map((service) => ({ name: service.name ?? file.name, service }));
  }

  /** Lists what is wrong with the definitions of a config. Binds nothing and opens nothing. */
  check(lists: FixtureLists): Problem[] {
    return this.cradle.fixtures.check(lists);
  }

  /** Binds the channels without letting calls in. Throws CONFIG_INVALID with every channel that cannot be bound. */
  bind(lists: FixtureLists, found: readonly Problem[] = []): this {
    this.cradle.fixtures.bind(lists, this.#refused > 0, found);
    return this;
  }

  /**
   * Starts stores and logic, then connections, then the plugins that let calls in. If one of them fails, stops those
   * that were started, and rejects.
   */
  async start(lists: FixtureLists = {}): Promise<this> {
    try {
      this.bind(lists);
      const { fixtures, channels, operations, cluster }: Wired = this.cradle;
      await this.#kernel.start(false);
      if (this.#stopping === null) await Promise.all([operations?.start(), fixtures.open()]);
      fixtures.tellVacant();
      await this.#kernel.start(true);
      if (this.#stopping !== null) return this;
      const { startTimeoutMs = 15_000 } = this.#options;
      await cluster?.claim();
      const late = `A tap of hook 'ready' did not end in ${startTimeoutMs} ms`;
      await within(startTimeoutMs, this.hooks.ready.promise(), late);
      if (this.#stopping !== null) return this;
      channels.open();
      this.#server.state = 'ready';
      this.#endWatch = channels.watchSleep(async () => operations?.catchUp(), CATCH_UP_MS);
      await cluster?.join();
      return this;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Turns new calls away, waits for the calls in flight, and stops the plugins in reverse order. May be called at any
   * time and more than once.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#server.state = 'draining';
    this.#kernel.halt();
    if (this.#isCreated) await this.#drain(this.cradle);
    await this.#kernel.stop();
    this.#server.state = 'stopped';
  }

  async #drain({ channels, services, connections, operations, cluster }: Wired): Promise<void> {
    const { graceMs = 30_000 } = this.#options;
    this.#endWatch();
    // Calls are served until the balancers have heard that this server leaves.
    await within(LEAVE_MS, cluster?.leave(), 'The cluster was not told').catch(() => {});
    channels.close();
    const late = `A tap of hook 'draining' did not end in ${STOP_MS} ms`;
    await this.#attempt(within(STOP_MS, this.hooks.draining.promise(), late), 'draining failed');
    this.#kernel.pause();
    const until = performance.now() + graceMs;
    const left = await channels.drain(graceMs);
    if (left > 0)
      this.log.warn({ left, graceMs }, 'calls were still in flight when the time to wait for them was over');
    await services.settle(until - performance.now());
    await within(STOP_MS, cluster?.stop(), 'The cluster was not told').catch(() => {});
    const unsettled = within(STOP_MS, operations?.stop(), 'The records did not settle');
    await this.#attempt(unsettled, 'leaving the records failed');
    if (services.background > 0) this.log.warn({ left: services.background }, 'asynchronous calls were cut off');
    const open = within(STOP_MS, connections.closeAll(), 'A connection did not close');
    await this.#attempt(open, 'closing connections failed');
  }

  /** Logs a failure while stopping, so that the other steps are still taken. */
  async #attempt(work: Promise<unknown>, failed: string): Promise<void> {
    await work.catch((error: unknown) => this.log.error({ error }, failed));
  }
}

/** What a process is made of, as read from a config file. */
export interface Blueprint {
  readonly config: Config;
  readonly loaded: readonly Loaded[];
  /** All problems except those in the plugins' blocks. */
  readonly problems: readonly Problem[];
  readonly options: Omit<ProcessOptions, 'logs'>;
}

/**
 * Reads a config file and loads its plugins. Rejects with CONFIG_UNREADABLE, or with CONFIG_INVALID if the file does
 * not have the shape of a config.
 */
export async function blueprintOf(file: string, version: string): Promise<Blueprint> {
  const { config, dir, problems, usable } = surveyConfig(file);
  if (!usable) refuse(problems);
  const found = await findPlugins(config.plugins, dir, loader);
  const { name, startTimeoutMs, graceMs, data, follows } = config;
  const secrets = wrapSecrets(Config.properties.secrets, config.secrets) as NonNullable<ProcessOptions['secrets']>;
  const cluster = wrapSecrets(ClusterConfig, config.cluster) as ClusterConfig | undefined;
  return {
    config,
    loaded: found.loaded,
    problems: [...problems, ...found.problems, ...keyProblems(secrets, problems)],
    options: { name, version, startTimeoutMs, graceMs, dir, data, secrets, follows, cluster },
  };
}

/** What is wrong with keys in the config. A key file is not looked at: it is read, or made, at the start. */
function keyProblems({ keys }: NonNullable<ProcessOptions['secrets']>, known: readonly Problem[]): Problem[] {
  if (known.some(({ path: at }) => at.startsWith('secrets'))) return [];
  if (keys === undefined || keys.reveal().trim() === '') return [];
  try {
    new Keyring({ keys, file: '' });
    return [];
  } catch (thrown) {
    const { message, hint } = toGantryError(thrown);
    return [{ path: 'secrets.keys', message, hint }];
  }
}
