/** Engines that the processes of one run of tests share: the runner starts each of them once, when it is first asked for. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Access, type Engine, type EngineKind, programsOf, type Running } from './engine.ts';
import { mariadbKind } from './mariadb.ts';
import { postgresKind } from './postgres.ts';

const KINDS = [postgresKind, mariadbKind];
/** Where the runner is asked. */
const VARIABLE = 'GANTRY_TEST_ENGINES';

/** What a process is told of an engine. */
interface Shared extends Access {
  readonly version: string;
}

export class SharedEngines {
  readonly #opened = new Map<EngineKind, Promise<Running | null>>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const kind = KINDS.find(({ name }) => request.url === `/${name}`);
      const answer = (status: number, body: unknown) => {
        response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
        response.end(JSON.stringify(body));
      };
      if (kind === undefined) return answer(404, null);
      this.#access(kind).then(
        (access) => answer(200, access),
        (error: unknown) => answer(500, String(error)),
      );
    });
  }

  static async open(): Promise<SharedEngines> {
    const engines = new SharedEngines();
    await new Promise<void>((resolve) => engines.#server.listen(0, '127.0.0.1', resolve));
    return engines;
  }

  /** What a process of tests is started with. */
  get env(): Readonly<Record<string, string>> {
    return { [VARIABLE]: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}` };
  }

  /** Stops all that were started, and removes their data. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    for (const one of await Promise.allSettled(this.#opened.values())) {
      if (one.status === 'fulfilled') await one.value?.warden.close();
    }
  }

  /** Null where this machine does not have it: who asked says so. */
  async #access(kind: EngineKind): Promise<Shared | null> {
    let running = this.#opened.get(kind);
    if (running === undefined) this.#opened.set(kind, (running = start(kind)));
    const found = await running;
    return found === null ? null : { ...found.access, version: found.engine.version };
  }
}

async function start(kind: EngineKind): Promise<Running | null> {
  const programs = programsOf(kind);
  return typeof programs === 'string' ? null : kind.open(programs);
}

/** Null outside of a run that shares engines, and where the machine does not have it. */
export async function sharedEngine(kind: EngineKind): Promise<Engine | null> {
  const { [VARIABLE]: runner } = process.env;
  if (runner === undefined || kind.client === undefined) return null;
  const response = await fetch(`${runner}/${kind.name}`);
  const body: unknown = await response.json();
  if (!response.ok) throw new Error(`The runner has no ${kind.name}: ${body}`);
  if (body === null) return null;
  const { version, adminPassword, ...access } = body as Shared;
  const refuse = (): never => {
    throw new Error(`This ${kind.name} is shared by all files of the run: ask for one of your own in test/engines`);
  };
  return {
    name: kind.name,
    version,
    ...access,
    pid: null,
    ...kind.client({ ...access, adminPassword }),
    ...{ start: refuse, stop: refuse, kill: refuse, freeze: refuse, thaw: refuse },
  };
}
