import type { Problem } from '../errors.ts';

/**
 * A load balancer: a program that accepts calls and passes each one to a server. It is a process of its own and keeps
 * running when this one ends. Every method rejects with BALANCER_FAILED if the program cannot be reached.
 */
export interface Balancer {
  /** The problems that the program itself finds in a state; empty if it would accept the state. Changes nothing. */
  check(state: BalancerState): Promise<readonly Problem[]>;
  /**
   * Brings the program to this state. What can change at run time does; anything else takes a new configuration, which
   * is checked first and loaded without losing a call. Rejects with BALANCER_REFUSED (with problems) if the program
   * refuses the configuration: the previous one stays in effect. Calls are applied one at a time, in order. Starts the
   * program if it is not running and was not halted.
   */
  apply(state: BalancerState): Promise<BalancerChange>;
  status(): Promise<BalancerStatus>;
  /** The configuration generated from a state, in the program's own format; without a state, the one in use. */
  source(state?: BalancerState): Promise<string>;
  /** The program's unchanged answer to one of its own queries. */
  show(what: BalancerQuestion): Promise<string>;
  /** Starts the program with the last good configuration. Does nothing if it is running. */
  launch(): Promise<void>;
  /** Ends the program; it is not restarted until launch(). */
  halt(): Promise<void>;
  /** Makes the program read its configuration again, without losing a call. */
  reload(): Promise<void>;
}

/** Everything that a balancer is configured by. It is JSON, and kept on disk unchanged. */
export interface BalancerState {
  /** With all defaults filled in and secrets in the clear. */
  readonly settings: BalancerSettings;
  readonly servers: readonly BalancedServer[];
}

export interface BalancedServer {
  /** Unique; any text. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** True if the server expects TLS. The plugin's config names the authority that must have signed its certificate. */
  readonly tls?: boolean;
  /** 0 to 256: the server's share of the calls, relative to the others. 100 is usual. */
  readonly weight: number;
  /** draining: gets no new calls and finishes those in flight. offline: gets nothing, not even health checks. */
  readonly state: 'online' | 'draining' | 'offline';
}

export interface BalancerChange {
  /**
   * none: it was in this state already. runtime: changed while running. reload: a new configuration was loaded. start:
   * it was not running.
   */
  readonly how: 'none' | 'runtime' | 'reload' | 'start';
  /** What was done, for the log; one line for each step. */
  readonly steps: readonly string[];
}

export type BalancerQuestion = 'info' | 'stat' | 'sess' | 'errors';

export interface BalancerStatus {
  readonly running: boolean;
  /** True if halt() ended it. */
  readonly halted: boolean;
  readonly pid: number | null;
  readonly version: string | null;
  /** ISO 8601. */
  readonly startedAt: string | null;
  readonly reloads: number;
  /** How often the program ended unexpectedly and was restarted. */
  readonly crashes: number;
  readonly servers: readonly BalancedStatus[];
}

export interface BalancedStatus {
  readonly name: string;
  readonly address: string;
  /** As the administrator set it, or as the server announced it when it left. */
  readonly state: BalancedServer['state'];
  /** True if it gets calls: it is online and passed its health checks. */
  readonly up: boolean;
  readonly weight: number;
  /** Calls in flight on it. */
  readonly sessions: number;
  readonly queued: number;
  readonly calls: number;
  readonly errors: number;
  readonly retries: number;
  /** The result of the last health check, e.g. `L7OK 200 in 1 ms`. */
  readonly check: string;
}

/** How calls are spread, whichever program does it. The schema in core/cluster/balancing.ts describes each field. */
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
