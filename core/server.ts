/** This process. */
export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly startedAt: Date;
  readonly state: 'starting' | 'ready' | 'draining' | 'stopped';
}
