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

/** This process, as those see it who make it what it is. */
export class OwnServer implements ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly data: string;
  readonly startedAt = new Date();
  state: ServerInfo['state'] = 'starting';
  /** Why a server that is ready should get no calls; null where it should. Its cluster sets it. */
  doubt: () => string | null = () => null;
  /** The channels set it. */
  behind: () => Promise<void> | null = () => null;

  constructor({ name, version, data }: Pick<ServerInfo, 'name' | 'version' | 'data'>) {
    this.name = name;
    this.version = version;
    this.data = data;
  }

  get unfit(): string | null {
    return this.state === 'ready' ? this.doubt() : `is ${this.state}`;
  }
}
