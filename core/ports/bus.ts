/**
 * Broadcasts events to every server of the cluster, this one included. An event is only a hint: it may be late, lost or
 * delivered twice. A listener reads the database to learn what happened.
 */
export interface Bus {
  /** Never throws, and does not wait for the delivery. */
  publish(event: BusEvent): void;
  /** Returns a function that unsubscribes. What a listener throws is logged and does not affect the others. */
  subscribe(listen: (event: BusEvent) => void): () => void;
}

export interface BusEvent {
  /** changed: records have changed, up to this revision. runs: the scheduler has runs to start. */
  readonly topic: 'changed' | 'runs';
  /** The revision of the latest change; 0 if the topic is not `changed`. */
  readonly revision: number;
  /** The name of the server that published the event. */
  readonly from: string;
}
