import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import {
  type Call,
  type Definition,
  definePlugin,
  defineService,
  type Fired,
  type Firing,
  GantryError,
  isGantryError,
  Type,
} from '../../core/api.ts';
import type { Plugin } from '../../core/cradle.ts';
import type { Loaded } from '../../core/kernel/plugin.ts';
import { Logs } from '../../core/log/log.ts';
import type { Attempt, DurableCall } from '../../core/ports/index.ts';
import type { Scheduler } from '../../core/ports/scheduler.ts';
import { Process } from '../../core/process.ts';
import type { Records } from '../../core/records/record.ts';
import type { OdbDatabase } from './odb-world.ts';

export interface SchedulerUnderTest {
  /** For the titles, e.g. 'scheduler.agenda on PostgreSQL'. */
  readonly name: string;
  /** The plugin, with a config with which another server takes over within some seconds, and looks for work several times a second. */
  readonly scheduler: Loaded;
  /** A new and empty database, with the plugins that keep records in it. */
  database(): Promise<OdbDatabase>;
}

/** One run of a service of the kit. */
export interface Seen {
  readonly server: string;
  readonly service: string;
  readonly input: Record<string, unknown>;
  readonly firing: Firing;
  readonly cid: string;
  readonly channel: string;
  readonly identity: unknown;
  readonly idempotencyKey: string | null;
  readonly at: number;
  /** It was told to end. */
  aborted: string | null;
  ended: boolean;
}

export interface Server {
  readonly name: string;
  readonly kernel: Process;
  readonly scheduler: Scheduler;
  readonly records: Records;
  readonly fired: Fired[];
  stop(): Promise<void>;
}

const LONG_MS = 20_000;
export const BY = { name: 'the kit', cid: 'cid-of-the-kit' };

/** Servers on one database, the services that they run, and what the tests see of them. */
export class SchedulerWorld {
  readonly under: SchedulerUnderTest;
  readonly seen: Seen[] = [];
  readonly servers: Server[] = [];
  #database: OdbDatabase | null = null;
  #count = 0;
  #release: (() => void)[] = [];

  constructor(under: SchedulerUnderTest) {
    this.under = under;
  }

  get first(): Server {
    const [server] = this.servers;
    if (server === undefined) throw new Error('There is no server yet');
    return server;
  }
  get scheduler(): Scheduler {
    return this.first.scheduler;
  }
  get records(): Records {
    return this.first.records;
  }

  async open(): Promise<void> {
    this.#database = await this.under.database();
    await this.start();
  }
  async close(): Promise<void> {
    this.release();
    await Promise.all([...this.servers].map((server) => server.stop()));
    await this.#database?.drop();
  }

  /** A server more. */
  async start(): Promise<Server> {
    const name = `server-${++this.#count}`;
    const data = mkdtempSync(path.join(tmpdir(), 'gantry-scheduler-'));
    const kernel = new Process({ logs: new Logs({ level: 'silent' }), data, name, graceMs: 300, pollMs: 100 });
    const fired: Fired[] = [];
    const { scheduler } = this.under;
    const plugins = [...(this.#database as OdbDatabase).plugins, scheduler, watching(fired)];
    kernel.create(plugins.map((one) => ({ ...one, config: structuredClone(one.config) })));
    kernel.deploy(this.#services(name));
    await kernel.start();
    const { scheduler: own, records } = kernel.cradle;
    const server: Server = {
      ...{ name, kernel, scheduler: own, records, fired },
      stop: async () => {
        if (this.servers.includes(server)) this.servers.splice(this.servers.indexOf(server), 1);
        await kernel.stop();
        rmSync(data, { recursive: true, force: true });
      },
    };
    this.servers.push(server);
    return server;
  }

  /** Lets go on what waits for it. */
  release(): void {
    for (const go of this.#release.splice(0)) go();
  }

  /** A name that nothing else has. */
  name(of: string): string {
    return `${of} ${++this.#count}`;
  }

  /** Makes a job; gives its name. */
  async job(of: Partial<Definition>, service = 'kit.note'): Promise<string> {
    const name = this.name('job');
    const definition = { service, schedule: { at: '9999-01-01T00:00:00Z' }, ...of, name };
    await this.records.create('job', definition, BY);
    return name;
  }
  async change(name: string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    const { version } = await this.records.get('job', name);
    await this.records.update('job', name, version, changes, BY);
  }
  async remove(name: string): Promise<void> {
    await this.records.remove('job', name, undefined, BY);
  }

  durable(of: Partial<DurableCall> = {}): DurableCall {
    return {
      ...{ service: 'kit.note', input: {}, verb: null, cid: 'a cid', channel: 'a channel', identity: null },
      ...{ traceparent: null, callback: null, attempts: 3, backoffMs: 20, maxBackoffMs: 40, timeoutMs: null },
      ...{ afterMs: 0, key: null, ...of },
    };
  }

  /** Runs with that token, in the order of their start. */
  ran(token: string): readonly Seen[] {
    return this.seen.filter(({ firing }) => firing.token === token);
  }
  ranFor(job: string): readonly Seen[] {
    return this.seen.filter(({ firing }) => firing.job === job);
  }
  /** Runs with this mark in their input. */
  marked(mark: string): readonly Seen[] {
    return this.seen.filter(
      ({ input }) => input['mark'] === mark || (input['input'] as Seen['input'])?.['mark'] === mark,
    );
  }

  /** All runs of a job, the earliest due first. */
  async rows(job: string): Promise<readonly Attempt[]> {
    const { items } = await this.scheduler.history({ job, limit: 1000 });
    return [...items].reverse();
  }

  /** Waits until all attempts of a token have ended; gives them. */
  async ended(token: string, attempts = 1): Promise<readonly Attempt[]> {
    return this.until(`${token} has ended`, async () => {
      const found = await this.scheduler.find(token);
      return found.length >= attempts && found.every(({ state }) => state === 'ended') ? found : null;
    });
  }

  /** Waits until there is something other than null or false. */
  async until<T>(what: string, look: () => T | Promise<T>): Promise<Exclude<T, null | false | undefined>> {
    const until = performance.now() + LONG_MS;
    while (true) {
      const found = await look();
      if (found !== null && found !== false && found !== undefined) return found as never;
      if (performance.now() > until) throw new Error(`Not within ${LONG_MS} ms: ${what}`);
      await wait(20);
    }
  }

  async refusal(code: string, work: Promise<unknown>): Promise<GantryError> {
    const thrown: unknown = await work.then(
      () => null,
      (error: unknown) => error,
    );
    if (!isGantryError(thrown)) throw new Error(`It was to be refused with ${code}: ${String(thrown)}`);
    expect(thrown.code, thrown.message).to.equal(code);
    return thrown;
  }

  #services(server: string) {
    const note = (service: string, input: unknown, call: Call): Seen => {
      const { firing, cid, channel, identity, idempotencyKey } = call;
      const seen: Seen = {
        ...{ server, service, input: input as Seen['input'], firing: firing as Firing, cid, channel, identity },
        ...{ idempotencyKey, at: Date.now(), aborted: null, ended: false },
      };
      call.signal.addEventListener('abort', () => {
        seen.aborted = (call.signal.reason as GantryError).code;
      });
      this.seen.push(seen);
      return seen;
    };
    const any = { input: Type.Unknown(), output: Type.Unknown() };
    return [
      defineService({
        name: 'kit.note',
        ...any,
        create: () => (input, call) => {
          note('kit.note', input, call).ended = true;
          return { noted: (input as Seen['input'])['mark'] ?? null };
        },
      }),
      // Fails as often as its input says.
      defineService({
        name: 'kit.fail',
        ...any,
        create: () => (input, call) => {
          const seen = note('kit.fail', input, call);
          seen.ended = true;
          const times = Number(seen.input['times'] ?? Number.POSITIVE_INFINITY);
          if (seen.firing.attempt <= times)
            throw new GantryError('UNAVAILABLE', `attempt ${seen.firing.attempt} failed`);
          return { attempt: seen.firing.attempt };
        },
      }),
      // Runs until release(), or it is told to end.
      defineService({
        name: 'kit.wait',
        ...any,
        create: () => async (input, call) => {
          const seen = note('kit.wait', input, call);
          await new Promise<void>((resolve) => {
            this.#release.push(resolve);
            call.signal.addEventListener('abort', () => resolve());
          });
          seen.ended = true;
          return { waited: true };
        },
      }),
      // Lasts so many ms, and does not listen.
      defineService({
        name: 'kit.last',
        ...any,
        create: () => async (input, call) => {
          const seen = note('kit.last', input, call);
          await wait(Number(seen.input['ms'] ?? 50));
          seen.ended = true;
          return {};
        },
      }),
    ];
  }
}

/** Hears of all that was fired. */
function watching(fired: Fired[]): Loaded {
  const plugin = definePlugin({
    id: 'feature.watching',
    api: 1,
    config: Type.Object({}),
    create: ({ id, hooks }) => {
      hooks.fired.tap(id, (one) => void fired.push(one));
      return {};
    },
  });
  return { id: plugin.id, plugin: plugin as unknown as Plugin, config: {} };
}
