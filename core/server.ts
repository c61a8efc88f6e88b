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
  /**
   * To be asked before anybody looks up where a message leads: null, or what to wait for first, since this process slept
   * and takes over what changed meanwhile. Never rejects.
   */
  behind(): Promise<void> | null;
}
