import { Child, CLIENT_CPU } from './child.ts';
import type { Load, Loaded } from './load.ts';
import { compileScript } from './scripts.ts';
import { BODY, KEY, KEY_HEADER } from './work.ts';

export interface Driven extends Loaded {
  /** Cores that the client used; near 1 it would be what limits the figures. */
  readonly clientCpu: number;
}

/** What is not said is the order of the bench, until it is told to end. */
export type Wanted = Pick<Load, 'port' | 'paths' | 'connections'> & Partial<Load>;

/** The client, in a process of its own. */
export class Client {
  readonly #child: Child;

  private constructor(child: Child) {
    this.#child = child;
  }

  static async start(): Promise<Client> {
    const child = new Child('the client', [process.execPath, await compileScript('client')], { cpu: CLIENT_CPU });
    await new Promise((resolve, reject) => {
      child.process.once('message', resolve);
      child.process.once('exit', () => reject(new Error(`the client ended:\n${child.said}`)));
    });
    return new Client(child);
  }

  /** Rejects when a connection fails or an answer is not 200: a figure with failures in it would mean nothing. */
  async drive(load: Wanted): Promise<Driven> {
    const driven = await this.tally(load);
    if (driven.refused > 0) {
      throw new Error(`${driven.refused} of ${driven.requests} answers were not 200; the first: ${driven.refusal}`);
    }
    return driven;
  }

  /** The same, where what is refused is what one wants to know. */
  async tally(load: Wanted): Promise<Driven> {
    const whole: Load = {
      method: 'POST',
      headers: { [KEY_HEADER]: KEY },
      body: BODY,
      seconds: Number.MAX_SAFE_INTEGER,
      requests: Number.MAX_SAFE_INTEGER,
      ...load,
    };
    const driven = await this.#child.ask<Driven | { failure: string }>(whole);
    if ('failure' in driven) throw new Error(driven.failure);
    return driven;
  }
  /** Ends the window that is under way. */
  end(): void {
    this.#child.process.send('end');
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}
