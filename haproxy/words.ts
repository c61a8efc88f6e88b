import type { Problem } from 'gantry/api';

/** Text on its way into the configuration or into a command: what could leave its place there is a problem. */
export class Words {
  readonly problems: Problem[] = [];

  /** One word, whatever is in it. Single quotes are the only ones in which HAProxy reads nothing else. */
  quoted(text: string, path: string): string {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (typeof text !== 'string' || /[\u0000-\u001f\u007f]/.test(text)) {
      return this.#wrong(path, 'has a character that no line can hold', 'a text on one line', text);
    }
    return `'${text.replaceAll("'", "'\\''")}'`;
  }

  /** As it is, where it is of this form. */
  plain(text: string, form: RegExp, path: string): string {
    return typeof text === 'string' && form.test(text) ? text : this.#wrong(path, 'has another form', `${form}`, text);
  }

  whole(value: number, path: string): string {
    return Number.isSafeInteger(value) && value >= 0
      ? String(value)
      : this.#wrong(path, 'is no whole number', 'a whole number from 0', value);
  }

  #wrong(path: string, message: string, expected: string, got: unknown): string {
    // What is wrong may be a password.
    const shown = /password/.test(path) ? '***' : (JSON.stringify(got) ?? String(got)).slice(0, 100);
    this.problems.push({ path, message, expected, got: shown });
    return 'wrong';
  }
}
