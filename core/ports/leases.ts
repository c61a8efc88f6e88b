/**
 * A lease lets one holder do something alone until a time, by the clock of the database, which is the same for all
 * servers. If that clock is put back by more than the time of a lease, the lease has lapsed until its holder renews it.
 * Every method rejects as those of the odb do, and with INVALID for what cannot be kept.
 */
export interface Leases {
  /**
   * Takes the lease if it is free or has lapsed, and gives it as it is then, whichever holder has it. A holder that has it
   * already keeps it, with its epoch, for `forMs` from now.
   */
  take(name: string, by: Holder, forMs: number): Promise<Lease>;
  /**
   * Renews in one statement the leases that are still held as given, and gives what there is then. A lease that lapsed and
   * that no other took is held again; one that another has, or that is gone, stays as it is.
   */
  renew(held: readonly Renewal[]): Promise<LeasesNow>;
  /** Ends the lease now, so that another may take it at once. False if another has it. */
  release(name: string, holder: string, epoch: number): Promise<boolean>;
  /**
   * Removes a lapsed lease for good, so that its holder cannot renew it. False if it has not lapsed, or is not there.
   */
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
  /** An integer for the next holder; null leaves what there is. */
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
