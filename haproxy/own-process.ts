import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { GantryError, type Logger, pause } from 'gantry/api';
import type { LogFile } from './log-file.ts';
import { forgetStates, freshFile, type Place, readWhole, sizeOf } from './place.ts';
import { ended, isAlive, processesOf, signal } from './processes.ts';
import { type Alert, alertsOf, environment } from './program.ts';
import { answered, Refused, type Runner } from './runner.ts';
import { workerPid } from './runtime.ts';
import { ask } from './socket.ts';

/** Less than the kernel gives a plugin to start. */
const START_MS = 10_000;
const RELOAD_MS = 60_000;
const MASTER_MS = 2000;

interface Master {
  readonly pid: number;
  readonly reloads: number;
  readonly isFailed: boolean;
}

/** HAProxy as a master with workers, in a session of its own: it goes on when we end, and the next one of us finds it. */
export class OwnProcess implements Runner {
  readonly revivesItself = false;
  readonly #program: string;
  readonly #place: Place;
  readonly #stopMs: number;
  readonly #logFile: LogFile;
  readonly #log: Logger;
  #pid: number | null = null;

  constructor(parts: { program: string; place: Place; stopMs: number; logFile: LogFile; log: Logger }) {
    this.#program = parts.program;
    this.#place = parts.place;
    this.#stopMs = parts.stopMs;
    this.#logFile = parts.logFile;
    this.#log = parts.log;
  }

  async find(): Promise<number | null> {
    if (this.#pid !== null && (await isAlive(this.#pid))) return this.#pid;
    this.#pid = null;
    const ours = await processesOf(this.#place.config);
    if (ours.length === 0) return null;
    const master = await this.#master().catch(() => null);
    // Whoever listens there: it is ours only if it runs our file.
    return (this.#pid = master !== null && ours.includes(master.pid) ? master.pid : null);
  }

  /** A worker whose master is gone keeps the ports, and would take calls that nobody watches. */
  async clear(): Promise<void> {
    const remains = await processesOf(this.#place.config);
    const alive = (await Promise.all(remains.map(async (pid) => ((await isAlive(pid)) ? [pid] : [])))).flat();
    if (alive.length === 0) return;
    this.#log.warn({ pids: alive }, 'processes of a former HAProxy are ended');
    await this.#kill(alive);
  }

  async start(): Promise<void> {
    const { config, master, socket, folder, errors } = this.#place;
    await this.clear();
    for (const file of [master, socket]) await rm(file, { force: true });
    // What serves only those who look must not keep it from starting: a disk may be full.
    const without = (error: unknown) => this.#log.warn({ error }, 'HAProxy is started without a file that it had');
    await forgetStates(this.#place).catch(without);
    const out = await this.#logFile.renew().catch(without);
    const err = await freshFile(errors).catch(without);
    const args = ['-W', '-S', `${master},mode,600`, '-f', config];
    const child = spawn(this.#program, args, {
      cwd: folder,
      detached: true,
      stdio: ['ignore', out ?? 'ignore', err ?? 'ignore'],
      env: environment(),
    });
    child.unref();
    for (const file of [out, err]) if (file !== undefined) closeSync(file);
    await this.#begun(child);
  }

  async #begun(child: ChildProcess): Promise<void> {
    let end: string | null = null;
    child.once('error', (error) => (end ??= error.message));
    child.once('exit', (code, name) => (end ??= `it ended with ${code ?? name}`));
    const { socket, errors } = this.#place;
    try {
      await answered(socket, null, START_MS, () => (end === null ? null : []));
    } catch (error) {
      if (child.pid !== undefined) signal(child.pid, 'SIGKILL');
      if (!(error instanceof Refused)) throw error;
      const alerts = alertsOf((await readWhole(errors)) ?? '', child.pid);
      throw new Refused(alerts.length > 0 ? alerts : [{ line: null, message: end ?? 'it ended' }]);
    }
    this.#pid = child.pid as number;
  }

  async reload(): Promise<void> {
    const { master, socket, errors } = this.#place;
    const before = await this.#master();
    const worker = await workerPid(socket);
    const size = await sizeOf(errors);
    // It executes itself anew before it answers.
    await ask(master, 'reload').catch(() => '');
    await this.#reloaded(before.reloads);
    const alerts = async (): Promise<Alert[]> => {
      const said = Buffer.from((await readWhole(errors)) ?? '').subarray(size);
      return alertsOf(said.toString('utf8'), before.pid);
    };
    if ((await this.#master()).isFailed) {
      const told = await alerts();
      throw new Refused(told.length > 0 ? told : [{ line: null, message: 'the new worker did not start' }]);
    }
    await answered(socket, worker, RELOAD_MS, () => null);
  }

  async #reloaded(before: number): Promise<void> {
    const until = Date.now() + RELOAD_MS;
    for (;;) {
      const master = await this.#asked().catch(() => null);
      if (master !== null && master.reloads > before) return;
      if (this.#pid !== null && !(await isAlive(this.#pid))) {
        throw new GantryError('BALANCER_FAILED', 'HAProxy ended while it was reloaded');
      }
      if (Date.now() > until) {
        throw new GantryError('BALANCER_FAILED', `HAProxy's master took longer than ${RELOAD_MS} ms to reload`);
      }
      await pause(15);
    }
  }

  async stop(): Promise<void> {
    const pid = await this.find();
    const all = [...new Set([...(pid === null ? [] : [pid]), ...(await processesOf(this.#place.config))])];
    if (pid !== null) signal(pid, 'SIGUSR1');
    if (!(await ended(all, this.#stopMs)) && pid !== null) signal(pid, 'SIGTERM');
    if (!(await ended(all, 2000))) await this.#kill(all);
    this.#pid = null;
  }

  async #kill(pids: readonly number[]): Promise<void> {
    for (const pid of pids) signal(pid, 'SIGKILL');
    await ended(pids, 5000);
  }

  /** After each start and reload the master executes itself anew, and answers nobody for some milliseconds. */
  async #master(): Promise<Master> {
    const until = Date.now() + MASTER_MS;
    for (;;) {
      try {
        return await this.#asked();
      } catch (error) {
        if (Date.now() > until) throw error;
      }
      await pause(20);
    }
  }

  async #asked(): Promise<Master> {
    const told = await ask(this.#place.master, 'show proc', MASTER_MS);
    const [, pid, reloads, failed] = /^(\d+)\s+master\s+(\d+)(?:\s+\[failed: (\d+)\])?/m.exec(told) ?? [];
    if (pid === undefined) throw new GantryError('BALANCER_FAILED', `HAProxy's master says: ${told.slice(0, 200)}`);
    return { pid: Number(pid), reloads: Number(reloads), isFailed: Number(failed ?? 0) > 0 };
  }
}
