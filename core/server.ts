/** This process. */
export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  /** The folder for what this process keeps; it exists. */
  readonly data: string;
  readonly startedAt: Date;
  readonly state: 'starting' | 'ready' | 'draining' | 'stopped';
  /** Why a balancer should give it no calls now; null where it may. */
  readonly unfit: string | null;
}
