import { setMaxListeners } from 'node:events';
import { Sequelize } from 'sequelize';
import { backoffMs, GantryError, type Logger, pause } from '../../core/api.ts';
import type { Dialect, DialectSupports } from '../../core/ports/index.ts';
import { Failures } from './failures.ts';
import { migrate } from './migrator.ts';
import { Session } from './session.ts';
import { NamedTurns, Turns, untilAborted, within } from './turns.ts';

export interface Limits {
  /** For one operation, all its tries included. */
  readonly timeoutMs: number;
  /** How long the start waits for the database. */
  readonly connectTimeoutMs: number;
  /** For all migrations, and for waiting until another server has made them. */
  readonly migrateTimeoutMs: number;
}

/** What may be tried once more where the connection was lost: nothing that was begun, what was not ended, or all. */
type Again = 'unbegun' | 'unended' | 'all';

/** How often the same is tried where others were in its way. */
const TRIES = 6;
/** How long a transaction that waits for nobody may be silent: else a server that is frozen stands in the way of all. */
const SILENCE_MS = 3000;
/** How long stop() waits for what is under way. */
const STOP_MS = 5000;
/** And for connections to close. */
const CLOSE_MS = 1000;

/**
 * The connections to the database, and what holds for all that is done with it: it is bounded in time, tried again where
 * that is safe, and its failures are told in our words.
 */
export class Database {
  readonly #dialect: Dialect;
  readonly #log: Logger;
  readonly #limits: Limits;
  readonly #turns = new Turns();
  /** Of effects with the same key: who waits for another one in the database holds a connection. */
  readonly #keys = new NamedTurns();
  /** Fires when stop() begins: what only starts is given up. */
  readonly #stopping = new AbortController();
  /** Fires when what was under way had its time. */
  readonly #stopped = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  #failures: Failures;
  /** Null until the database was reached and its tables are those of this version. */
  #sequelize: Sequelize | null = null;
  #problem: GantryError | null;
  /** Since the last change that there was no room for. */
  #full: GantryError | null = null;
  /** What the connections lead to; null before there are any, and where the dialect cannot tell. */
  #identity: string | null = null;

  constructor(dialect: Dialect, log: Logger, limits: Limits) {
    this.#dialect = dialect;
    this.#log = log;
    this.#limits = limits;
    this.#failures = new Failures(dialect);
    this.#problem = this.#failures.unavailable('The database is not connected yet', 'It is while starting.', undefined);
    // Every operation under way listens.
    for (const { signal } of [this.#stopping, this.#stopped]) setMaxListeners(0, signal);
  }

  /** Why the database did not answer when it was last asked. */
  get problem(): GantryError | null {
    return this.#problem ?? this.#full;
  }

  /** Statements that are each their own; tried once more where the connection was lost. */
  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#operate(async (sequelize, signal) => {
      const session = await Session.reading(sequelize, signal);
      try {
        return await work(session);
      } finally {
        await session.end();
      }
    }, 'unended');
  }

  /** Statements that are each their own and change something; done twice they come to the same. */
  async steps<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#dialect.oneWriter === true) return this.rewrite(work);
    const result = await this.read(work);
    this.#hasRoom();
    return result;
  }

  /** All of it, or nothing; what is only rehearsed is undone at its end. */
  async write<T>(work: (session: Session) => Promise<T>, rehearsed = false): Promise<T> {
    const result = await this.#operate(
      (sequelize, signal) => this.#transact(sequelize, signal, work, rehearsed),
      rehearsed ? 'unended' : 'unbegun',
    );
    if (!rehearsed) this.#hasRoom();
    return result;
  }

  /** As write(), for work that knows again what it did: it is tried once more where nobody can know whether it was done. */
  async rewrite<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const result = await this.#operate(
      (sequelize, signal) => this.#transact(sequelize, signal, work, false, SILENCE_MS),
      'all',
    );
    this.#hasRoom();
    return result;
  }

  /**
   * As write(), for work that is not this plugin's own, one at a time for each key. As long as it has not `begun`, all is
   * tried again as what only reads is; from then on never.
   */
  async effect<T>(
    key: string | null,
    work: (session: Session, signal: AbortSignal) => Promise<T>,
    begun: () => boolean,
  ): Promise<T> {
    const result = await this.#operate(async (sequelize, signal) => {
      const leave = key === null ? () => {} : await this.#keys.enter(key, signal);
      try {
        return await this.#transact(sequelize, signal, (session) => work(session, signal));
      } catch (thrown) {
        throw begun() ? this.told(thrown) : thrown;
      } finally {
        leave();
      }
    }, 'unended');
    this.#hasRoom();
    return result;
  }

  /** What the failure of a statement that is not this plugin's own is to who asked for it. */
  told(thrown: unknown): GantryError {
    return this.#failures.ofStatement(thrown);
  }

  /** Of the dialect. */
  get now(): string {
    return this.#dialect.now;
  }

  get supports(): DialectSupports {
    return this.#dialect.supports;
  }

  /**
   * Connects and migrates. Where the database cannot be reached in time it goes on trying, and resolves. Rejects with
   * PLUGIN_START_FAILED where waiting will not help.
   */
  async start(): Promise<void> {
    this.#prepareFailures();
    const { connectTimeoutMs } = this.#limits;
    const first = this.#establish();
    const waiting = new AbortController();
    const late = pause(connectTimeoutMs, waiting.signal).then(() => this.#failures.tooLate(connectTimeoutMs));
    try {
      const thrown: unknown = await Promise.race([first.then(() => null), late]).catch((error: unknown) => error);
      if (thrown === null) return;
      if (!this.#failures.isPassing(thrown)) throw this.#failures.setup(thrown);
      this.#complain(this.#failures.of(thrown).error);
      void this.#keepTrying(first);
    } finally {
      waiting.abort();
      late.catch(() => {});
    }
  }

  /** Ends what is under way after at most five seconds, and every connection. */
  async stop(): Promise<void> {
    const sequelize = this.#sequelize;
    const reason = this.#failures.unavailable('The server is stopping', 'It was told to.', undefined);
    this.#problem = reason;
    this.#sequelize = null;
    this.#stopping.abort(reason);
    await within(STOP_MS, Promise.allSettled([...this.#underWay]));
    this.#stopped.abort(reason);
    await within(CLOSE_MS, Promise.allSettled([...this.#underWay]));
    if (sequelize !== null) await within(CLOSE_MS, sequelize.close());
  }

  /** Failures tell no password; the dialect's own settings are asked for once more to know it. */
  #prepareFailures(): void {
    try {
      this.#failures = new Failures(this.#dialect, this.#dialect.options());
    } catch (cause) {
      throw this.#failures.setup(cause);
    }
  }

  /** One try, on connections of its own: one that failed may have left some behind that do not work. */
  async #establish(): Promise<void> {
    // Of one that was taken away, an empty one must not be made.
    if (this.#identity !== null && this.#identityNow() === null) throw this.#gone();
    await this.#dialect.prepare?.();
    const sequelize = this.#build();
    try {
      const { connectTimeoutMs, migrateTimeoutMs } = this.#limits;
      await this.#bounded(
        connectTimeoutMs,
        async (signal) => (await Session.reading(sequelize, signal)).end(),
        this.#stopping,
      );
      const step = (session: Session) => migrate(sequelize, session, this.#dialect, this.#log);
      await this.#bounded(migrateTimeoutMs, (signal) => this.#transact(sequelize, signal, step), this.#stopping);
      this.#stopping.signal.throwIfAborted();
      this.#sequelize = sequelize;
      this.#identity = this.#identityNow();
      this.#mended();
    } catch (error) {
      void within(CLOSE_MS, sequelize.close());
      throw error;
    }
  }

  #identityNow(): string | null {
    return this.#dialect.identity?.() ?? null;
  }

  /** Connections that are open would go on with what is not there any more, and new ones would lead elsewhere. */
  #refuseAnother(sequelize: Sequelize): void {
    if (this.#identity === null) return;
    const now = this.#identityNow();
    if (now === this.#identity) return;
    if (now === null) throw this.#gone();
    if (this.#sequelize === sequelize) {
      this.#sequelize = null;
      const closed = within(CLOSE_MS, sequelize.close());
      void this.#keepTrying(closed.then(() => this.#establish()));
    }
    const hint = 'It is opened by itself; what the old one had and this one has not is lost.';
    throw this.#failures.unavailable('The database was replaced by another one', hint, undefined);
  }

  #gone(): GantryError {
    const hint =
      'Put it back as it was, or from a backup; nothing has to be started again. A start now would make an empty one.';
    return this.#failures.unavailable('The database was taken away', hint, undefined);
  }

  #build(): Sequelize {
    const log = this.#log;
    const sequelize = new Sequelize({
      logging: (statement: string) => {
        if (log.isLevelEnabled('debug')) log.debug({ statement }, 'asked the database');
      },
      ...this.#dialect.options(),
      // Its own would try again for minutes, and what may be tried again only an operation knows.
      retry: { max: 1 },
    });
    // It would ask for the version on a connection that nothing could cut, should it hang.
    const { options, dialect } = sequelize as unknown as Record<'options' | 'dialect', Record<string, unknown>>;
    if (options['databaseVersion'] === 0) options['databaseVersion'] = dialect['defaultVersion'];
    return sequelize;
  }

  async #keepTrying(first: Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    let trying = first;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        return await trying;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = this.#failures.isPassing(thrown) ? this.#failures.of(thrown).error : this.#hopeless(thrown);
        this.#complain(error);
        const ms = backoffMs(attempt, { backoffMs: 1000, maxBackoffMs: 5000 });
        await pause(ms, signal).catch(() => {});
        trying = signal.aborted ? Promise.resolve() : this.#establish();
      }
    }
  }

  /** What would have stopped the start, had the database been there then. */
  #hopeless(thrown: unknown): GantryError {
    const { message, hint = '' } = this.#failures.setup(thrown);
    return this.#failures.unavailable(message, hint, thrown);
  }

  async #transact<T>(
    sequelize: Sequelize,
    signal: AbortSignal,
    work: (session: Session) => Promise<T>,
    rehearsed = false,
    silenceMs: number | null = null,
  ): Promise<T> {
    const leave = this.#dialect.oneWriter === true ? await this.#turns.enter(signal) : () => {};
    try {
      const patience = this.#dialect.patience?.(silenceMs) ?? null;
      const session = await Session.writing(sequelize, signal, patience);
      try {
        const result = await work(session);
        if (!rehearsed) await session.commit();
        return result;
      } finally {
        await session.end();
      }
    } finally {
      leave();
    }
  }

  async #operate<T>(work: (sequelize: Sequelize, signal: AbortSignal) => Promise<T>, again: Again): Promise<T> {
    const sequelize = this.#sequelize;
    if (sequelize === null) throw this.#problem ?? new GantryError('ODB_UNAVAILABLE', 'The database is not connected');
    try {
      this.#refuseAnother(sequelize);
      const result = await this.#bounded(this.#limits.timeoutMs, (signal) =>
        this.#tryOften((last) => work(sequelize, last), again, signal),
      );
      this.#mended();
      return result;
    } catch (thrown) {
      const { error, full } = this.#failures.of(thrown);
      if (full === true) this.#overflow(error);
      else if (error.code === 'ODB_UNAVAILABLE') this.#complain(error);
      else {
        this.#mended();
        if (error.code === 'ODB_FAILED') this.#log.error({ error }, 'the database failed');
      }
      throw error;
    }
  }

  async #tryOften<T>(work: (signal: AbortSignal) => Promise<T>, what: Again, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (attempt >= this.#triesAfter(thrown, what)) throw thrown;
        await pause(backoffMs(attempt, { backoffMs: 20, maxBackoffMs: 500 }), signal);
      }
    }
  }

  #triesAfter(thrown: unknown, what: Again): number {
    const { again, begun, uncertain } = this.#failures.of(thrown);
    if (again === 'often') return TRIES;
    if (uncertain === true) return what === 'all' ? 2 : 1;
    return again === 'once' && (what !== 'unbegun' || !begun) ? 2 : 1;
  }

  /** Rejects when the time is over or the server stops; what is under way then is cut off by the signal. */
  async #bounded<T>(
    ms: number,
    work: (signal: AbortSignal) => Promise<T>,
    { signal: stopped } = this.#stopped,
  ): Promise<T> {
    const end = new AbortController();
    // Every statement of a large change listens in its turn.
    setMaxListeners(0, end.signal);
    const stop = () => end.abort(stopped.reason);
    const timer = setTimeout(() => end.abort(this.#failures.tooLate(ms)), ms);
    stopped.addEventListener('abort', stop, { once: true });
    const working = work(end.signal);
    const settled = working.then(
      () => {},
      () => {},
    );
    this.#underWay.add(settled);
    void settled.then(() => this.#underWay.delete(settled));
    try {
      return await untilAborted(working, end.signal);
    } finally {
      clearTimeout(timer);
      stopped.removeEventListener('abort', stop);
    }
  }

  #complain(error: GantryError): void {
    if (this.#stopping.signal.aborted) return;
    const known = this.#problem;
    this.#problem = error;
    // Once for each, and not for every call that finds it so.
    if (known?.message !== error.message) this.#log.warn({ error }, 'the database is not available');
  }

  /** It answers, so that what asks it goes on; only changes are refused. */
  #overflow(error: GantryError): void {
    this.#mended();
    if (this.#full === null) this.#log.warn({ error }, 'the database has no room: changes are refused');
    this.#full = error;
  }

  #hasRoom(): void {
    if (this.#full === null) return;
    this.#full = null;
    this.#log.info({}, 'the database has room again');
  }

  #mended(): void {
    if (this.#problem === null || this.#stopping.signal.aborted) return;
    this.#problem = null;
    this.#log.info({}, 'the database is available');
  }
}
