import { execFile } from 'node:child_process';
import { GantryError } from 'gantry/api';
import { answered, Refused, type Runner } from './runner.ts';
import { workerPid } from './runtime.ts';

const START_MS = 10_000;
const COMMAND_MS = 90_000;

/** HAProxy as a unit of systemd, which starts it again when it ends. */
export class SystemdUnit implements Runner {
  readonly revivesItself = true;
  readonly #unit: string;
  readonly #socket: string;

  constructor(unit: string, socket: string) {
    this.#unit = unit;
    this.#socket = socket;
  }

  async find(): Promise<number | null> {
    const pid = Number((await this.#systemctl('show', '--property=MainPID', '--value')).trim());
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  }

  /** Systemd does. */
  async clear(): Promise<void> {}

  async start(): Promise<void> {
    await this.#systemctl('start');
    await answered(this.#socket, null, START_MS, () => null);
  }

  async reload(): Promise<void> {
    const worker = await workerPid(this.#socket).catch(() => null);
    await this.#systemctl('reload').catch((error: GantryError) => {
      throw new Refused([{ line: null, message: error.message }]);
    });
    // The unit says that it reloaded also where the new worker could not start.
    await answered(this.#socket, worker, START_MS, () => null).catch(() => {
      throw new Refused([{ line: null, message: `No new worker answers; see journalctl -u ${this.#unit}` }]);
    });
  }

  async stop(): Promise<void> {
    await this.#systemctl('stop');
  }

  #systemctl(verb: string, ...options: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile('systemctl', [verb, ...options, this.#unit], { timeout: COMMAND_MS }, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const said = stderr.trim() || error.message;
        const hint = `This process needs the right to run systemctl for ${this.#unit}; or let it run HAProxy: managed: own.`;
        reject(new GantryError('BALANCER_FAILED', `systemctl ${verb} ${this.#unit}: ${said}`, { cause: error, hint }));
      });
    });
  }
}
