import { GantryError, type Logger, type Problem } from 'gantry/api';
import type { Balancer, BalancerChange, BalancerQuestion, BalancerState, BalancerStatus } from 'gantry/ports';
import { type Configuration, refuse } from './configuration.ts';
import { converge, type Outcome, Sweeper, settle, statesOf } from './convergence.ts';
import type { Facts, Kept } from './kept.ts';
import { forgetStates, type Place, readWhole, writeSame, writeWhole } from './place.ts';
import type { Rendered } from './rendering.ts';
import { Refused, type Runner } from './runner.ts';
import { ask } from './socket.ts';
import { figuresOf, statusOf } from './status.ts';
import { Supervision } from './supervision.ts';
import { takenAddresses } from './taken.ts';

export interface Parts {
  readonly place: Place;
  readonly version: string;
  readonly configuration: Configuration;
  readonly kept: Kept;
  readonly runner: Runner;
  readonly log: Logger;
}

const QUESTIONS: readonly BalancerQuestion[] = ['info', 'stat', 'sess', 'errors'];

/** HAProxy as a balancer. What it works with is in its files; here is only who does what when. */
export class HAProxy implements Balancer {
  readonly #parts: Parts;
  readonly #supervision: Supervision;
  readonly #sweeper: Sweeper;
  #turn: Promise<unknown> = Promise.resolve();
  #isEnded = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { log, kept, runner } = parts;
    const isMissing = async () =>
      kept.facts.state !== null && !kept.facts.halted && !runner.revivesItself && (await runner.find()) === null;
    this.#supervision = new Supervision({ isMissing, revive: () => this.#inTurn(() => this.#revive()), log });
    this.#sweeper = new Sweeper(() => this.#inTurn(() => this.#sweep()), log);
  }

  /** Takes over what runs; starts what should run and does not. */
  async begin(): Promise<void> {
    const { kept, runner, log } = this.#parts;
    const pid = await runner.find();
    if (pid !== null) log.info({ pid }, 'HAProxy runs already, and goes on');
    else if (kept.facts.state !== null && !kept.facts.halted) {
      // A port that is taken, e.g., must not keep us from being told to use another.
      await this.#inTurn(() => this.#startAgain()).catch((error: unknown) =>
        log.error({ error }, 'HAProxy could not be started; it is tried again'),
      );
    }
    this.#supervision.begin();
    if (pid !== null && kept.facts.state !== null) this.#sweeper.comeBack();
  }

  /** Lets it go on, or ends it. */
  async end(stopsProgram: boolean): Promise<void> {
    this.#isEnded = true;
    this.#sweeper.end();
    await this.#supervision.end();
    await this.#turn.catch(() => {});
    if (stopsProgram) await this.#parts.runner.stop();
  }

  async check(state: BalancerState): Promise<readonly Problem[]> {
    const { configuration, kept, runner } = this.#parts;
    const problems = await configuration.problemsOf(configuration.render(state), state);
    if (problems.length > 0 || runner.revivesItself) return problems;
    return takenAddresses(state.settings, kept.facts.halted ? null : (kept.facts.state?.settings ?? null));
  }

  apply(state: BalancerState): Promise<BalancerChange> {
    return this.#inTurn(async () => {
      const change = await this.#apply(state);
      if (change.how !== 'none') this.#parts.log.info(change, 'HAProxy was changed');
      return change;
    });
  }

  async status(): Promise<BalancerStatus> {
    const { kept, runner, version, configuration, place } = this.#parts;
    const { state, halted, startedAt, reloads, crashes } = kept.facts;
    const pid = await runner.find();
    const figures = pid === null ? null : figuresOf(await ask(place.socket, 'show stat -1 4 -1'));
    const pools = state === null ? [] : configuration.render(state).pools;
    const servers = statusOf(state?.servers ?? [], pools, figures);
    const since = pid === null ? null : startedAt;
    return { running: pid !== null, halted, pid, version, startedAt: since, reloads, crashes, servers };
  }

  async source(state?: BalancerState): Promise<string> {
    const { configuration, kept, place } = this.#parts;
    if (state !== undefined) {
      const rendered = configuration.render(state);
      refuse(rendered.problems);
      return configuration.shown(rendered.text, state);
    }
    const text = await readWhole(place.config);
    if (text === null) throw new GantryError('BALANCER_FAILED', 'HAProxy has no configuration yet');
    return configuration.shown(text, kept.facts.state);
  }

  async show(what: BalancerQuestion): Promise<string> {
    if (!QUESTIONS.includes(what))
      throw new GantryError('INPUT_INVALID', `'${what}' is none of ${QUESTIONS.join(', ')}`);
    await this.#running();
    return ask(this.#parts.place.socket, `show ${what}`);
  }

  launch(): Promise<void> {
    return this.#inTurn(async () => {
      const { kept, runner } = this.#parts;
      if (kept.facts.state === null) throw new GantryError('BALANCER_FAILED', 'HAProxy has no configuration yet');
      await kept.note({ halted: false });
      if ((await runner.find()) === null) await this.#startAgain();
    });
  }

  halt(): Promise<void> {
    return this.#inTurn(async () => {
      const { kept, runner, log } = this.#parts;
      await kept.save({ halted: true });
      await runner.stop();
      log.info({}, 'HAProxy was ended');
    });
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const { kept, configuration } = this.#parts;
      await this.#running();
      const { state } = kept.facts;
      if (state === null) throw new GantryError('BALANCER_FAILED', 'HAProxy has no configuration of ours');
      const rendered = configuration.render(state);
      // Also where the text is the same: a certificate may be another one.
      await configuration.accept(rendered, state);
      await this.#exchange(rendered, state);
    });
  }

  async #apply(state: BalancerState): Promise<BalancerChange> {
    const { configuration, kept, place, runner } = this.#parts;
    const rendered = configuration.render(state);
    const before = await readWhole(place.config);
    if (rendered.text !== before || rendered.problems.length > 0) await configuration.accept(rendered, state);
    if ((await runner.find()) === null)
      return kept.facts.halted ? this.#keep(rendered, state) : this.#begin(rendered, state);
    if (rendered.frame !== kept.facts.frame) return this.#reloaded(rendered, state, 'settings changed');
    // First the file: whatever happens now, the next HAProxy has it right.
    if (rendered.text !== before) await writeWhole(place.config, rendered.text);
    const { steps, reload, isLeft } = await converge(place.socket, rendered.pools);
    if (reload !== null) return this.#reloaded(rendered, state, reload);
    if (isLeft) this.#sweeper.comeBack();
    if (rendered.text !== before) await this.#worked(rendered.text);
    if (JSON.stringify(state) !== JSON.stringify(kept.facts.state)) await kept.note({ state });
    return { how: steps.length > 0 ? 'runtime' : 'none', steps };
  }

  async #keep(rendered: Rendered, state: BalancerState): Promise<BalancerChange> {
    const { kept, place } = this.#parts;
    await writeWhole(place.config, rendered.text);
    await kept.save({ state, frame: null });
    return { how: 'none', steps: ['kept for when HAProxy is launched'] };
  }

  async #begin(rendered: Rendered, state: BalancerState): Promise<BalancerChange> {
    const { configuration, kept, place, runner } = this.#parts;
    await runner.clear();
    if (!runner.revivesItself) refuse(await takenAddresses(state.settings, null));
    const before = await readWhole(place.config);
    if (before !== rendered.text) await writeWhole(place.config, rendered.text);
    try {
      await runner.start();
    } catch (error) {
      // Where it cannot, the last that worked is taken in its place.
      if (before !== null && before !== rendered.text) await writeWhole(place.config, before).catch(() => {});
      if (kept.facts.state !== null) await this.#startAgain().catch(() => {});
      throw error instanceof Refused ? configuration.refusal(error.alerts, rendered, state) : error;
    }
    await kept.note({ startedAt: new Date().toISOString() });
    const steps = await this.#settled(rendered, state);
    return {
      how: 'start',
      steps: [`started with ${state.servers.length} servers`, ...this.#limits(rendered, state), ...steps],
    };
  }

  async #reloaded(rendered: Rendered, state: BalancerState, why: string): Promise<BalancerChange> {
    const { runner, kept } = this.#parts;
    if (!runner.revivesItself) refuse(await takenAddresses(state.settings, kept.facts.state?.settings ?? null));
    const steps = await this.#exchange(rendered, state);
    return { how: 'reload', steps: [`reloaded: ${why}`, ...this.#limits(rendered, state), ...steps] };
  }

  /** A new worker with a new configuration; where it is refused, all is as before. */
  async #exchange(rendered: Rendered, state: BalancerState): Promise<readonly string[]> {
    const { configuration, kept, place, runner } = this.#parts;
    const before = kept.facts.state;
    const former = before === null ? null : configuration.render(before);
    const { frame } = kept.facts;
    // Until it is known which one HAProxy has, also where we end meanwhile.
    await kept.save({ frame: null });
    await settle(place.socket, rendered.pools);
    await writeWhole(place.states, await statesOf(place.socket, rendered.pools));
    await writeWhole(place.config, rendered.text);
    try {
      await runner.reload();
    } catch (error) {
      const good = await readWhole(place.good);
      if (good !== null) await this.#backTo(good);
      if (former !== null) await settle(place.socket, former.pools).catch(() => {});
      if (!(error instanceof Refused)) throw error;
      await kept.note({ frame });
      throw configuration.refusal(error.alerts, rendered, state);
    } finally {
      // Soon it would be wrong.
      await forgetStates(place);
    }
    await kept.note({ reloads: kept.facts.reloads + 1 });
    return this.#settled(rendered, state);
  }

  /** After a start or a reload: the file cannot say all of it. */
  async #settled(rendered: Rendered, state: BalancerState): Promise<readonly string[]> {
    const { kept, place } = this.#parts;
    await this.#worked(rendered.text);
    await kept.note({ state, frame: rendered.frame });
    const { steps, reload, isLeft } = await converge(place.socket, rendered.pools);
    if (reload !== null) throw new GantryError('BALANCER_FAILED', `HAProxy has its servers otherwise: ${reload}`);
    if (isLeft) this.#sweeper.comeBack();
    return steps;
  }

  /** HAProxy works with it, whether or not it can be kept for later. */
  async #worked(text: string): Promise<void> {
    const { place, log } = this.#parts;
    await writeWhole(place.good, text).catch((error: unknown) =>
      log.warn({ error, file: place.good }, 'the configuration that works cannot be kept as the last that worked'),
    );
  }

  #limits({ maxConnections }: Rendered, { settings }: BalancerState): string[] {
    if (maxConnections >= settings.maxConnections) return [];
    return [
      `takes ${maxConnections} connections at most, not ${settings.maxConnections}: raise the limit of open files (ulimit -n)`,
    ];
  }

  /** It should run, and does not; or did that change meanwhile? */
  async #revive(): Promise<number | null> {
    const { kept, runner } = this.#parts;
    if (kept.facts.halted || (await runner.find()) !== null) return null;
    const crashes = kept.facts.crashes + 1;
    await this.#startAgain({ crashes });
    return crashes;
  }

  /** With what it had, or with the last that worked, whatever cannot be written. */
  async #startAgain(more: Partial<Facts> = {}): Promise<void> {
    const { configuration, kept, place, runner, log } = this.#parts;
    const state = kept.facts.state as BalancerState;
    const [there, good] = await Promise.all([readWhole(place.config), readWhole(place.good)]);
    const ours = configuration.render(state);
    // An editor on a full disk leaves an empty one: with that HAProxy runs, and serves nobody.
    let text = there || good || ours.text;
    if (text !== there) await (good === null ? writeWhole(place.config, text) : this.#backTo(good));
    try {
      await runner.start();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (good === null || good === text) throw configuration.refusal(error.alerts, ours, state);
      log.error({ alerts: error.alerts }, 'HAProxy refuses its file; it is started with the last that worked');
      text = good;
      await this.#backTo(text);
      await runner.start();
    }
    const frame = text === ours.text ? ours.frame : null;
    await kept.note({ startedAt: new Date().toISOString(), frame, ...more });
    const { isLeft } = await converge(place.socket, ours.pools);
    if (isLeft) this.#sweeper.comeBack();
  }

  #backTo(good: string): Promise<void> {
    const { place } = this.#parts;
    return writeSame(place.config, place.good, good);
  }

  async #sweep(): Promise<Outcome | null> {
    const { configuration, kept, place, runner } = this.#parts;
    const { state } = kept.facts;
    if (state === null || (await runner.find()) === null) return null;
    return converge(place.socket, configuration.render(state).pools);
  }

  async #running(): Promise<void> {
    if ((await this.#parts.runner.find()) !== null) return;
    throw new GantryError('BALANCER_FAILED', 'HAProxy does not run', {
      hint: this.#parts.kept.facts.halted ? 'It was halted; launch it.' : 'Look into the log for why it ended.',
    });
  }

  /** One at a time, in order. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => {
      if (this.#isEnded) throw new GantryError('BALANCER_FAILED', 'This process lets HAProxy go: it is stopping');
      return work();
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
