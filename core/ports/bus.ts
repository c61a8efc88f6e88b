/**
 * Tells every server of the cluster, this one included. A hint and never the truth: it may be late, twice or lost, and
 * who listens looks at the database.
 */
export interface Bus {
  /** Never rejects, and waits for nothing. */
  publish(event: BusEvent): void;
  /** Returns the undo. A listener that throws is logged and disturbs no other. */
  subscribe(listen: (event: BusEvent) => void): () => void;
}

export interface BusEvent {
  /** changed: there are changes up to this revision. runs: there is something for the scheduler to start. */
  readonly topic: 'changed' | 'runs';
  /** 0 where it is not about changes. */
  readonly revision: number;
  /** The name of the server that made them. */
  readonly from: string;
}
