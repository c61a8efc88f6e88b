import type { Problem } from '../errors.ts';

/**
 * A load balancer: one program that takes calls and hands each to a server. It is a process of its own, which goes on
 * without us. Every method but start and stop rejects with BALANCER_FAILED where the program cannot be reached.
 */
export interface Balancer {
  /** What is wrong with it, as the program itself says; empty: it would be taken. Changes nothing. */
  check(state: BalancerState): Promise<readonly Problem[]>;
  /**
   * Makes the program work so. What can change without a new configuration does; else the new one is checked first, and
   * taken over without losing a call. Rejects with BALANCER_REFUSED (with problems) where the program refuses it: then
   * what ran before goes on. One at a time, in order. Starts the program where it does not run and was not halted.
   */
  apply(state: BalancerState): Promise<BalancerChange>;
  status(): Promise<BalancerStatus>;
  /** The configuration that is made from a state, as the program would read it; without one: that which is in use. */
  source(state?: BalancerState): Promise<string>;
  /** What the program answers to one of its own questions, as it is. */
  show(what: BalancerQuestion): Promise<string>;
  /** Starts the program with the last good configuration; nothing where it runs. */
  launch(): Promise<void>;
  /** Ends the program, and it stays ended until launch(). */
  halt(): Promise<void>;
  /** Reads the configuration again, without losing a call. */
  reload(): Promise<void>;
}

/** What a balancer works with. JSON: it is kept on disk as it is. */
export interface BalancerState {
  /** All defaults filled in; secrets in the clear. */
  readonly settings: BalancerSettings;
  readonly servers: readonly BalancedServer[];
}

export interface BalancedServer {
  /** Unique; any text. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** It talks TLS; by which authority its certificate must be signed is the plugin's config. */
  readonly tls?: boolean;
  /** 0 to 256; 100 is the share of a usual one. */
  readonly weight: number;
  /** draining: gets nothing new and ends what it has. offline: gets nothing, checks included. */
  readonly state: 'online' | 'draining' | 'offline';
}

export interface BalancerChange {
  /** none: it worked so already. runtime: while running. reload: with a new configuration. start: it did not run. */
  readonly how: 'none' | 'runtime' | 'reload' | 'start';
  /** What was done, for the log; one line each. */
  readonly steps: readonly string[];
}

export type BalancerQuestion = 'info' | 'stat' | 'sess' | 'errors';

export interface BalancerStatus {
  readonly running: boolean;
  /** Ended by halt(). */
  readonly halted: boolean;
  readonly pid: number | null;
  readonly version: string | null;
  /** ISO 8601. */
  readonly startedAt: string | null;
  readonly reloads: number;
  /** How often the program ended without being told to, and was started again. */
  readonly crashes: number;
  readonly servers: readonly BalancedStatus[];
}

export interface BalancedStatus {
  readonly name: string;
  readonly address: string;
  /** What the administrator, or its own leaving, made of it. */
  readonly state: BalancedServer['state'];
  /** Whether it gets calls: neither drained nor offline, and it passed its checks. */
  readonly up: boolean;
  readonly weight: number;
  /** Calls that it has in hand. */
  readonly sessions: number;
  readonly queued: number;
  readonly calls: number;
  readonly errors: number;
  readonly retries: number;
  /** What the last check said, e.g. `L7OK 200 in 1 ms`. */
  readonly check: string;
}

/** How calls are spread, whatever program does it. What each field means stands beside the schema, core/cluster/balancing.ts. */
export interface BalancerSettings {
  readonly binds: readonly {
    readonly host: string;
    readonly port: number;
    readonly certificates?: readonly string[];
    readonly clientCa?: string;
  }[];
  readonly algorithm: 'roundrobin' | 'leastconn' | 'source' | 'uri';
  readonly cookie?: string;
  readonly timeouts: {
    readonly connectMs: number;
    readonly serverMs: number;
    readonly clientMs: number;
    readonly requestMs: number;
    readonly keepAliveMs: number;
    readonly queueMs: number;
    readonly tunnelMs: number;
  };
  readonly maxConnections: number;
  readonly maxPerServer?: number;
  readonly check: {
    readonly path: string;
    readonly everyMs: number;
    readonly fall: number;
    readonly rise: number;
    readonly slowStartMs: number;
  };
  readonly retries: number;
  readonly repeatableBytes: number;
  readonly log: { readonly to: string; readonly level: 'emerg' | 'err' | 'warning' | 'notice' | 'info' };
  readonly stats?: { readonly host: string; readonly port: number; readonly user: string; readonly password: string };
  readonly tcp: readonly {
    readonly name: string;
    readonly host: string;
    readonly port: number;
    readonly serverPort: number;
  }[];
  readonly template?: string;
}
