/** This process, as plugins and services see it. */
export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  /** The folder for this process's own files. It exists. */
  readonly data: string;
  readonly startedAt: Date;
  readonly state: 'starting' | 'ready' | 'draining' | 'stopped';
  /** Why a balancer should send it no calls now; null if it may. */
  readonly unfit: string | null;
  /**
   * Transports call it before they look up the channel of a message. It returns null, or, after this process was
   * suspended, a promise to wait for: the changes that it missed are being applied. The promise never rejects.
   */
  behind(): Promise<void> | null;
}

/** This process, as the core sees it: the parts of the core set its state. */
export class OwnServer implements ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly data: string;
  readonly startedAt = new Date();
  state: ServerInfo['state'] = 'starting';
  /** Why this server should get no calls although it is ready; null if it should. Set by the cluster. */
  doubt: () => string | null = () => null;
  /** Set by the channels. */
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
