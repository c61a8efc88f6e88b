import type { Logger } from 'gantry/api';
import type { BalancerState } from 'gantry/ports';
import { readWhole, writeWhole } from './place.ts';

/** What outlives our process, besides HAProxy's own files. */
export interface Facts {
  /** What was applied last. */
  readonly state: BalancerState | null;
  /** Of the configuration that HAProxy was started or reloaded with; see Rendered. */
  readonly frame: string | null;
  readonly halted: boolean;
  readonly startedAt: string | null;
  readonly reloads: number;
  readonly crashes: number;
}

const NOTHING: Facts = { state: null, frame: null, halted: false, startedAt: null, reloads: 0, crashes: 0 };

export class Kept {
  readonly #file: string;
  readonly #log: Logger;
  #facts = NOTHING;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
  }

  get facts(): Facts {
    return this.#facts;
  }

  async load(): Promise<void> {
    const text = await readWhole(this.#file);
    if (text === null) return;
    try {
      this.#facts = { ...NOTHING, ...(JSON.parse(text) as Partial<Facts>) };
    } catch (error) {
      this.#log.warn(
        { file: this.#file, error },
        'what was kept of HAProxy cannot be read; the next change is a reload',
      );
    }
  }

  /** Rejects with BALANCER_FAILED where it cannot be written: then nothing has changed. */
  async save(changed: Partial<Facts>): Promise<void> {
    const facts = { ...this.#facts, ...changed };
    await writeWhole(this.#file, JSON.stringify(facts));
    this.#facts = facts;
  }

  /** What is so already: it holds also where it cannot be written. Who comes after us then knows less. */
  async note(changed: Partial<Facts>): Promise<void> {
    this.#facts = { ...this.#facts, ...changed };
    await this.save({}).catch((error: unknown) =>
      this.#log.warn({ error, file: this.#file }, 'what happened to HAProxy cannot be kept'),
    );
  }
}
