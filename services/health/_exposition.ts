/** Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Kind = 'counter' | 'gauge' | 'histogram';

/** One metric: what it is, and a line for each sample. Without samples it is left out. */
export function family(name: string, type: Kind, help: string, samples: readonly string[]): string {
  return samples.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.join('')}`;
}

/** A metric with one sample and no labels. */
export function single(name: string, type: Kind, help: string, value: number): string {
  return family(name, type, help, [`${name} ${value}\n`]);
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** A label; its value may be any text. */
export function label(name: string, value: string): string {
  return `${name}="${value.replace(/[\\"\n]/g, (character) => ESCAPES[character] as string)}"`;
}
