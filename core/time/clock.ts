/** What is had of time, so that a test can be the clock. */
export interface Clock {
  /** Ms that go on evenly, whatever is done to the clock on the wall. */
  steady(): number;
  /** Calls back once after so many ms, and does not keep the process alive; returns the undo. */
  after(ms: number, work: () => void): () => void;
  /** Resolves after so many ms, and keeps the process alive meanwhile. */
  sleep(ms: number): Promise<void>;
}

/** Node would fire a timer that is set for longer at once. */
const LONGEST_MS = 2 ** 31 - 1;
const bounded = (ms: number) => Math.min(Math.max(0, ms), LONGEST_MS);

export const machineClock: Clock = {
  steady: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, bounded(ms));
    timer.unref();
    return () => clearTimeout(timer);
  },
  sleep: (ms) => new Promise((resolve) => void setTimeout(resolve, bounded(ms))),
};

/** Again and again, until it is undone. Does not keep the process alive. */
export function every(clock: Clock, ms: number, work: () => void): () => void {
  let undo = () => {};
  const again = () => {
    undo = clock.after(ms, () => {
      again();
      work();
    });
  };
  again();
  return () => undo();
}
