import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { GantryError, type Problem } from 'gantry/api';
import type { BalancerState } from 'gantry/ports';
import { type Place, writeWhole } from './place.ts';
import { type Alert, examine } from './program.ts';
import { type Rendered, render, type Surroundings } from './rendering.ts';
import { Words } from './words.ts';

/** Makes configurations, and asks the program what it thinks of them. */
export class Configuration {
  readonly #program: string;
  readonly #place: Place;
  readonly #around: Surroundings;

  constructor(program: string, place: Place, around: Surroundings) {
    this.#program = program;
    this.#place = place;
    this.#around = around;
  }

  render(state: BalancerState): Rendered {
    return render(state, this.#around);
  }

  /** Empty: HAProxy would take it. */
  async problemsOf(rendered: Rendered, state: BalancerState): Promise<readonly Problem[]> {
    if (rendered.problems.length > 0) return rendered.problems;
    const file = path.join(this.#place.folder, `check-${randomUUID()}.cfg`);
    try {
      await writeWhole(file, rendered.text);
      return this.#told(await examine(this.#program, file), rendered, state);
    } finally {
      await rm(file, { force: true });
    }
  }

  /** Throws BALANCER_REFUSED where there is a problem. */
  async accept(rendered: Rendered, state: BalancerState): Promise<void> {
    refuse(await this.problemsOf(rendered, state));
  }

  /** As an error of ours. */
  refusal(alerts: readonly Alert[], rendered: Rendered, state: BalancerState): GantryError {
    return refusal(this.#told(alerts, rendered, state));
  }

  /** A configuration for people: the password stands only in HAProxy's own file. */
  shown(text: string, state: BalancerState | null): string {
    const password = state?.settings.stats?.password;
    if (password === undefined) return text;
    return text.replaceAll(`insecure-password ${new Words().quoted(password, '')}`, "insecure-password '***'");
  }

  #told(alerts: readonly Alert[], rendered: Rendered, state: BalancerState): Problem[] {
    const lines = this.shown(rendered.text, state).split('\n');
    const password = state.settings.stats?.password;
    return alerts.map(({ line, message }) => {
      const plain = password === undefined ? message : message.replaceAll(password, '***');
      if (line === null) return { path: '/settings', message: plain };
      const at = rendered.locate(line);
      const got = (lines[line - 1] ?? '').trim().slice(0, 300);
      return { path: at.path, message: `line ${at.line}: ${plain}`, got };
    });
  }
}

export function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw refusal(problems);
}

function refusal(problems: readonly Problem[]): GantryError {
  const [first] = problems;
  const more = problems.length > 1 ? `, and ${problems.length - 1} more` : '';
  return new GantryError('BALANCER_REFUSED', `HAProxy does not take this: ${first?.message}${more}`, {
    problems,
    hint: 'What ran before goes on.',
  });
}
