import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { GantryError, type Logger, pause } from '../../core/api.ts';
import { type AgentSays, askAgent, UNKNOWN } from './agent.ts';
import { callersRow, figuresRow, mending } from './callers.ts';
import { Child, type Program } from './child.ts';
import { type Claim, claim } from './claim.ts';
import type { Config } from './config.ts';
import type { Database } from './database.ts';
import { callTrouble, pingTrouble, redisTrouble } from './health.ts';
import { type Passwords, passwordsIn } from './passwords.ts';
import { adminPasswordOf, balancerFile, planOf, portsOf, serversOf } from './plan.ts';
import { refuseTaken, urlOf } from './ports.ts';
import { PROGRAMS, programsOf } from './programs.ts';
import { table } from './table.ts';
import { Warden } from './warden.ts';

interface Parts {
  readonly id: string;
  readonly config: Config;
  readonly folder: string;
  readonly database: Database;
  readonly log: Logger;
}

const LOOK_MS = 100;
/** Who is told of a first end of its own accord, so that the cause stands in the log by then. */
const WRITTEN_MS = 200;
/** How long servers that answer are waited for with settings that an administrator made: those may keep them out. */
const RECORDED_MS = 15_000;
/** How long a call through the balancer is tried: once where a record says where. Where the agent refuses us nothing is known. */
const CALL_MS = { recorded: 0, configured: 2000, refused: 15_000 } as const;

/** All processes of the cluster, from the first to the last. */
export class Launch {
  readonly #parts: Parts;
  readonly #stopping = new AbortController();
  readonly #children: Child[] = [];
  #claim: Claim | null = null;
  #warden: Warden | null = null;
  #ending: Promise<void> | null = null;
  #agent: AgentSays = UNKNOWN;
  #call: string | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Resolves when all are healthy, and where it is stopped meanwhile. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }

  async #start(): Promise<void> {
    const { id, config, folder, database, log } = this.#parts;
    const { signal } = this.#stopping;
    const wanted = [PROGRAMS.haproxy, PROGRAMS.redis];
    const [haproxy = '', redisServer = ''] = await programsOf(wanted, { ...config, log, signal });
    mkdirSync(path.join(folder, 'logs'), { recursive: true, mode: 0o700 });
    const own = await claim(path.join(folder, 'launcher.claim'), folder, signal);
    this.#claim = own;
    await refuseTaken(portsOf(config), id);
    const passwords = passwordsIn(path.join(folder, 'passwords.json'));
    const plan = planOf({ config, folder, passwords, database, haproxy, redisServer });
    signal.throwIfAborted();
    this.#warden = new Warden(balancerFile(folder), log, (pid) => own.share(pid));
    process.stdout.write(`Starting Redis, ${plan.servers.length} servers, the agent and HAProxy ...\n`);
    const until = performance.now() + config.readyMs;
    const redis = this.#launch(plan.redis);
    await this.#well(redis, until, () => redisTrouble(config.redisPort, passwords.redisPassword));
    const servers = plan.servers.map((program) => this.#launch(program));
    const agent = this.#launch(plan.agent);
    await Promise.all(
      serversOf(config).map(({ name, port }, i) =>
        this.#well(servers[i] as Child, until, () => pingTrouble(port, name)),
      ),
    );
    await this.#well(agent, until, this.#agentTrouble(passwords, until));
    await this.#well(agent, Number.POSITIVE_INFINITY, this.#callTrouble());
    for (const child of this.#children) child.settle();
    this.#tell(passwords);
  }

  /** No process is started again, and the servers end; the others follow. Resolves when the servers have ended. */
  async end(): Promise<void> {
    this.#stopping.abort(new Error('the launcher stops'));
    for (const child of this.#children) child.close();
    this.#ending ??= this.#warden?.close() ?? Promise.resolve();
    const servers = this.#children.filter(({ program }) => program.stage === 'server');
    let over = false;
    const all = this.#ending.finally(() => {
      over = true;
    });
    while (!over && servers.some(({ pid }) => pid !== null)) await Promise.race([all, wait(LOOK_MS)]);
  }

  /** Resolves when nothing is left. */
  async close(): Promise<void> {
    await this.end();
    await this.#ending;
    this.#claim?.release();
  }

  #launch(program: Program): Child {
    const { log } = this.#parts;
    const child = new Child(program, log, () => this.#watch());
    this.#children.push(child);
    child.start();
    log.info({ child: program.name, pid: child.pid, logFile: program.logFile }, 'a process was started');
    return child;
  }

  #watch(): void {
    const processes = this.#children.flatMap(({ program: { stage }, pid }) => (pid === null ? [] : [{ stage, pid }]));
    this.#warden?.watch(processes);
  }

  /** Waits until a child is well. Rejects with PLUGIN_START_FAILED, and the end of its log, where it is not in time. */
  async #well(child: Child, until: number, trouble: () => Promise<string | null>): Promise<void> {
    const { signal } = this.#stopping;
    const lost = Promise.race(this.#children.map(async (one) => ({ one, how: await one.lost })));
    for (;;) {
      const looked = await Promise.race([trouble(), lost]);
      signal.throwIfAborted();
      if (looked === null) return;
      if (typeof looked === 'object') {
        await pause(WRITTEN_MS, signal);
        throw await failed(looked.one, `${looked.how} before the cluster was up`);
      }
      if (performance.now() >= until) {
        throw await failed(child, `was not healthy in ${this.#parts.config.readyMs} ms: ${looked}`);
      }
      await pause(LOOK_MS, signal);
    }
  }

  /** By the agent's word. What an administrator made of the balancer is told, and ends nothing: it is mended by the agent. */
  #agentTrouble(passwords: Passwords, until: number): () => Promise<string | null> {
    const { config } = this.#parts;
    const names = serversOf(config).map(({ name }) => name);
    let end = Number.POSITIVE_INFINITY;
    return async () => {
      const said = await askAgent(config.agentPort, adminPasswordOf(config, passwords), names);
      this.#agent = said;
      if (said.away !== null) return said.away;
      end = Math.min(end, until, performance.now() + RECORDED_MS);
      return said.recorded !== null && performance.now() >= end ? null : said.trouble;
    };
  }

  /** Of a call at the configured port: kept to be told, since the balancer's settings may say another. */
  #callTrouble(): () => Promise<string | null> {
    const { refused, halted, serving, trouble, recorded } = this.#agent;
    const how = refused ? 'refused' : (recorded?.binds ?? null) === null ? 'configured' : 'recorded';
    const end = performance.now() + CALL_MS[how];
    return async () => {
      this.#call = halted || trouble !== null ? null : await callTrouble(this.#parts.config.balancerPort, serving);
      return performance.now() >= end ? null : this.#call;
    };
  }

  #tell(passwords: Passwords): void {
    const { config, folder, database, log } = this.#parts;
    const configured = (config.adminPassword?.reveal() ?? '') !== '';
    const unknown = 'user admin; the database knows it by another password than the one kept here';
    const { halted, refused, serving, trouble } = this.#agent;
    if (!(serving || halted || trouble !== null))
      log.warn({}, 'all servers were taken out of the balancer by an administrator');
    process.stdout.write(
      table({
        ...{ folder, servers: serversOf(config), database: database.where, ...ports(config) },
        callers: callersRow({ agent: this.#agent, call: this.#call, url: urlOf(config.balancerPort) }),
        mending: mending(this.#agent, urlOf(config.agentPort)),
        figures: figuresRow(this.#agent, urlOf(config.statsPort)),
        admin: refused
          ? { unknown }
          : configured
            ? { unknown: 'user admin, its password is the configured one' }
            : { password: passwords.adminPassword },
        statsPassword: passwords.statsPassword,
        passwordFile: path.join(folder, 'passwords.json'),
      }),
    );
  }
}

function ports({ balancerPort, statsPort, agentPort, redisPort }: Config) {
  return { balancerPort, statsPort, agentPort, redisPort };
}

async function failed(child: Child, what: string): Promise<GantryError> {
  const { name, logFile } = child.program;
  const tail = await child.said();
  return new GantryError('PLUGIN_START_FAILED', `${name} ${what}`, {
    hint: `Its log is ${logFile}${tail === '' ? ', and nothing was written to it.' : `, which ends with:\n  ${tail.replaceAll('\n', '\n  ')}`}`,
  });
}
