import { didYouMean, type Problem } from 'gantry/api';

/** Text for within a line, or lines. */
export type Values = Readonly<Record<string, string | readonly string[]>>;

export interface Filled {
  readonly text: string;
  /** Of each line of the text, the line of the template that it comes from, from 1. */
  readonly origins: readonly number[];
  /** Where each placeholder for lines stands: the section's word and name, e.g. `backend servers`. */
  readonly sections: readonly { readonly name: string; readonly section: string }[];
  readonly problems: readonly Problem[];
}

const SECTION =
  /^(global|defaults|frontend|backend|listen|userlist|peers|resolvers|mailers|cache|program|ring|http-errors|log-forward|fcgi-app|crt-store|traces)\b\s*(\S*)/;
const ALONE = /^(\s*)\{\{(\w+)\}\}\s*$/;
const BEGIN = /^(\s*)# \{\{(\w+)\}\}\s*$/;

/**
 * Puts values into a template. `{{name}}` on a line of its own becomes lines between `# {{name}}` and `# {{/name}}`; what
 * stands between such two in a template is replaced: so a text that was made is a template again.
 */
export function fill(template: string, values: Values): Filled {
  return new Filling(values).fill(template.split(/\r?\n/));
}

class Filling {
  readonly #values: Values;
  readonly #lines: string[] = [];
  readonly #origins: number[] = [];
  readonly #sections: { name: string; section: string }[] = [];
  readonly #problems: Problem[] = [];
  #section = '';

  constructor(values: Values) {
    this.#values = values;
  }

  fill(template: readonly string[]): Filled {
    let skippedTo: string | null = null;
    for (const [i, line] of template.entries()) {
      if (skippedTo !== null) {
        if (line.trim() === skippedTo) skippedTo = null;
        continue;
      }
      const [, word, name = ''] = SECTION.exec(line) ?? [];
      if (word !== undefined) this.#section = `${word} ${name}`.trim();
      const begun = BEGIN.exec(line);
      if (begun !== null) skippedTo = `# {{/${begun[2]}}}`;
      this.#line(line, begun ?? ALONE.exec(line), i + 1);
    }
    if (skippedTo !== null) this.#wrong(template.length, `ends before the line '${skippedTo}'`);
    const text = `${this.#lines.join('\n').replace(/\n+$/, '')}\n`;
    return { text, origins: this.#origins, sections: this.#sections, problems: this.#problems };
  }

  #line(line: string, alone: RegExpExecArray | null, at: number): void {
    if (alone !== null) this.#block(alone[1] as string, alone[2] as string, at);
    else if (line.trimStart().startsWith('#')) this.#put(line, at);
    else this.#put(this.#replaced(line, at), at);
  }

  #replaced(line: string, at: number): string {
    return line.replace(/\{\{([^{}]*)\}\}/g, (_, name: string) => {
      const value = this.#value(name, at);
      if (typeof value === 'string') return value;
      this.#wrong(at, `has {{${name}}}, which stands for whole lines and needs one of its own`);
      return '';
    });
  }

  #block(indent: string, name: string, at: number): void {
    const value = this.#value(name, at);
    const isText = typeof value === 'string';
    if (!isText) this.#sections.push({ name, section: this.#section });
    const lines = isText ? [value] : [`# {{${name}}}`, ...value, `# {{/${name}}}`];
    for (const line of lines) this.#put(`${indent}${line}`.trimEnd(), at);
  }

  #value(name: string, at: number): string | readonly string[] {
    if (Object.hasOwn(this.#values, name)) return this.#values[name] as string;
    this.#wrong(at, `has {{${name}}}, which stands for nothing`, didYouMean(name, Object.keys(this.#values)));
    return [];
  }

  #put(line: string, at: number): void {
    this.#lines.push(line);
    this.#origins.push(at);
  }

  #wrong(at: number, message: string, hint = ''): void {
    this.#problems.push({
      path: '/settings/template',
      message: `line ${at} ${message}`,
      hint: hint || `It may have ${Object.keys(this.#values).join(', ')}.`,
    });
  }
}
