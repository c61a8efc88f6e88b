import { visible } from './display.ts';
import { type Terminal, write } from './terminal.ts';

/** An answer of the API: what it says, and its own text. */
export interface Answer<T = unknown> {
  readonly value: T;
  readonly text: string;
}

/** What is said, in the form that was asked for. */
export class Screen {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly #terminal: Terminal;

  constructor(terminal: Terminal, { json, quiet }: { readonly json: boolean; readonly quiet: boolean }) {
    this.#terminal = terminal;
    this.json = json;
    this.quiet = quiet;
  }

  /** How wide a line may be; null where it is not a terminal that reads. */
  get width(): number | null {
    const { isTTY, columns } = this.#terminal.stdout;
    return isTTY === true && columns !== undefined && columns > 0 ? columns : null;
  }

  /** The answer as it is for scripts, a text for people, and what is left of it for those who want quiet. */
  async show<T>({ value, text }: Answer<T>, people: (value: T) => string, quiet: (value: T) => string = () => '') {
    if (this.json) await this.data(`${text}\n`);
    else await write(this.#terminal.stdout, visible(this.quiet ? quiet(value) : people(value)));
  }

  /** As it is, whoever reads it. */
  async data(text: string): Promise<void> {
    await write(this.#terminal.stdout, text);
  }

  /** Beside the answer, on stderr. */
  async note(text: string): Promise<void> {
    if (!this.quiet && !this.json) await write(this.#terminal.stderr, visible(`${text}\n`));
  }

  /** On stderr, however quiet; an answer in JSON has it already. */
  async warn(text: string): Promise<void> {
    if (!this.json) await write(this.#terminal.stderr, visible(`gantry: ${text}\n`));
  }
}
