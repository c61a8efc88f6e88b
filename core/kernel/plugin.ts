import type { Static, TSchema } from 'typebox';
import type { Cradle } from '../cradle.ts';
import type { Hooks } from '../hooks.ts';
import type { Logger } from '../log/log.ts';
import type { Port, Ports } from '../ports/index.ts';

/** The version of this contract; a plugin says which one it was written for. */
export const API = 1;

/** What a plugin module exports by default. */
export interface Plugin<
  P extends Port = Port,
  C extends TSchema = TSchema,
  N extends keyof Cradle = keyof Cradle,
  W extends keyof Cradle = keyof Cradle,
> {
  /** `<port>.<name>`, e.g. `transport.rest`: the folder, the config key, the log field. */
  readonly id: `${P}.${string}`;
  readonly api: typeof API;
  /** Schema of the plugin's config block. Unknown keys are errors. */
  readonly config: C;
  /** What it is given. Asking is what orders the start. */
  readonly needs?: readonly N[];
  /** Like needs, but null where no plugin gives it. */
  readonly wants?: readonly W[];
  /** Builds the instance. Sync, no I/O: connecting belongs in start(). Hooks are tapped here. */
  create(given: Pick<Cradle, N> & { [T in W]: Cradle[T] | null } & Own<C>): Ports[P] & Lifecycle;
}

/** What each plugin gets of its own, without asking. */
export interface Own<C extends TSchema = TSchema> {
  /** The config key: the plugin's id, or another one for a second instance. */
  readonly id: string;
  readonly config: Readonly<Static<C>>;
  readonly log: Logger;
  readonly hooks: Hooks;
  /** Imports a module that the operator named in the config: a path beside the config file, or a package. */
  load(specifier: string): Promise<unknown>;
}

/** All three may be absent, and none may hang. */
export interface Lifecycle {
  /** Connects, listens. Called once, in order; a rejection stops the boot. */
  start?(): Promise<void>;
  /** Takes nothing new, and keeps what answers the calls in hand: the core waits for those, then calls stop. */
  pause?(): void;
  /** Closes. Called once, in reverse order; works half-started. */
  stop?(): Promise<void>;
}

/** Gives a plugin its types; returns it unchanged. */
export function definePlugin<
  P extends Port,
  C extends TSchema,
  const N extends keyof Cradle = never,
  const W extends keyof Cradle = never,
>(plugin: Plugin<P, C, N, W>): Plugin<P, C, N, W> {
  return plugin;
}

/** One entry of `plugins` in the config, its module found. */
export interface Loaded {
  /** The config key. */
  readonly id: string;
  readonly plugin: Plugin;
  readonly config: Readonly<Record<string, unknown>>;
  /** Its start failure is a warning. */
  readonly optional?: boolean;
}
