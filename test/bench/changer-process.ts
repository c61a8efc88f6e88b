import type { Work, Worked } from './changer.ts';
import { Child, CLIENT_CPU } from './child.ts';
import { compileScript } from './scripts.ts';

/** The administrators, in a process of their own. */
export class Changer {
  readonly #child: Child;

  private constructor(child: Child) {
    this.#child = child;
  }

  static async start(): Promise<Changer> {
    const script = await compileScript('changer');
    return new Changer(new Child('the administrators', [process.execPath, script], { cpu: CLIENT_CPU }));
  }

  /** Makes the calls; what fails is counted. */
  tally(work: Work): Promise<Worked> {
    return this.#child.ask<Worked>(work);
  }
  /** Rejects when a call fails: a figure with failures in it would mean nothing. */
  async work(work: Work): Promise<Worked> {
    const worked = await this.tally(work);
    if (worked.failed === 0) return worked;
    throw new Error(`${worked.failed} of ${worked.calls} calls failed; the first: ${worked.failure}`);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}
