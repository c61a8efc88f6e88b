import type { AdminClient } from './client.ts';
import type { Credentials } from './credentials.ts';
import type { Options } from './options.ts';
import type { Screen } from './screen.ts';
import type { Terminal } from './terminal.ts';

/** `--name VALUE`, or a switch. */
export interface Option {
  /** Without its dashes. The same name takes a value everywhere, or nowhere. */
  readonly name: string;
  readonly short?: string;
  /** What usage shows after it. Absent: it is a switch. */
  readonly value?: string;
  /** Whether it may be given more than once. */
  readonly many?: boolean;
  readonly does: string;
}

/** One thing that can be done: `gantry channel list`, or `gantry apply`. */
export interface Verb {
  /** '' where the noun alone is the command. */
  readonly name: string;
  readonly does: string;
  /** What stands after it: `NAME`, `[NAME]` or `[FILE...]`. Absent: nothing. */
  readonly words?: string;
  readonly options?: readonly Option[];
  /** The exit code, if it is not 0. Rejects with a GantryError. */
  run(command: Command): Promise<number> | Promise<void>;
}

export interface Noun {
  readonly name: string;
  readonly does: string;
  readonly verbs: readonly Verb[];
}

/** One run of a verb: what was asked, and what it works with. */
export interface Command {
  /** What stood after the verb. */
  readonly words: readonly string[];
  readonly options: Options;
  readonly client: AdminClient;
  readonly credentials: Credentials;
  readonly screen: Screen;
  readonly terminal: Terminal;
}
