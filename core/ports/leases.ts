/**
 * Who may do something alone, and until when: by the clock of the database, which is the same for all servers. Where that
 * is put back by more than the time of a lease, the lease has lapsed until its holder renews it. Every method rejects as
 * those of the odb do, and with INVALID for what could not be kept.
 */
export interface Leases {
  /**
   * Takes it where nobody has it or it has lapsed, and gives it as it is then, whoever has it. Who has it already
   * keeps it, with its epoch, for `forMs` from now.
   */
  take(name: string, by: Holder, forMs: number): Promise<Lease>;
  /**
   * Renews those that are still held as told, in one statement, and tells what there is then. One that lapsed and that
   * nobody has taken since is held again; one that is another's, or gone, stays what it is.
   */
  renew(held: readonly Renewal[]): Promise<LeasesNow>;
  /** Lapses now, so that another may take it at once. False where it is another's. */
  release(name: string, holder: string, epoch: number): Promise<boolean>;
  /** Takes one away for good that has lapsed, so that its holder cannot renew it. False where it has not lapsed, or is not there. */
  remove(name: string, holder: string): Promise<boolean>;
}

export interface Holder {
  /** One process, or one life of it: at most 100 characters. */
  readonly holder: string;
  /** The name of the server, for people. */
  readonly server: string;
}

export interface Renewal {
  readonly name: string;
  readonly holder: string;
  readonly epoch: number;
  readonly forMs: number;
  /** What who takes it next should know; null leaves what there is. An integer. */
  readonly mark: number | null;
}

export interface Lease extends Holder {
  /** 1 to 200 characters. */
  readonly name: string;
  /** One more with each time that another took it, ever since its row was made. */
  readonly epoch: number;
  /** Until it lapses; not positive: it has. */
  readonly remainingMs: number;
  readonly mark: number | null;
}

export interface LeasesNow {
  /** By the clock of the database, in ms since 1970. */
  readonly now: number;
  /** All of them, lapsed ones too, by name. */
  readonly leases: readonly Lease[];
}
