import type { TSchema } from 'typebox';
import type { Port } from '../ports/table.ts';

/** The version of this contract; a plugin says which one it was written for. */
export const API = 1;

/** A plugin as the kernel knows it; definePlugin() in core/cradle.ts has the types for authors. */
export interface Plugin {
  /** `<port>.<name>`, e.g. `transport.rest`: the folder, the config key, the log field. */
  readonly id: `${Port}.${string}`;
  readonly api: typeof API;
  /** Schema of the plugin's config block. Unknown keys are errors. */
  readonly config: TSchema;
  /** Tokens that it is given. Asking is what orders the start. */
  readonly needs?: readonly string[];
  /** Like needs, but null where no plugin gives it. */
  readonly wants?: readonly string[];
  /** Builds the instance. Sync, no I/O: connecting belongs in start(). Hooks are tapped here. */
  create(given: never): object;
}

/** All three may be absent, and none may hang. */
export interface Lifecycle {
  /** Connects, listens. Called once, in order; a rejection stops the boot. */
  start?(): Promise<void>;
  /** Takes nothing new, and keeps what answers the calls in flight: the core waits for those, then calls stop. */
  pause?(): void;
  /** Closes. Called once, in reverse order; works half-started. */
  stop?(): Promise<void>;
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
