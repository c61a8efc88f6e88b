/** What the agent says of the balancer, and what an administrator made of it. */
import { type Answer, ask, parsed } from './health.ts';
import { HOST } from './ports.ts';

export interface AgentSays {
  /** Why the agent cannot be asked; null: it can. */
  readonly away: string | null;
  /** It does not know the administrator by that password: nothing else is known then. */
  readonly refused: boolean;
  /** Null: HAProxy runs with all servers that are wanted, or was ended by an administrator. */
  readonly trouble: string | null;
  readonly halted: boolean;
  /** Whether any server gets calls; an administrator may have taken all of them out. */
  readonly serving: boolean;
  /** The record `main` of kind balancer; null: there is none, and all is as the config says. */
  readonly recorded: Recorded | null;
}

/** What of the record concerns the launcher's own ports. */
export interface Recorded {
  /** Where callers come in, as URLs; null: it does not say. */
  readonly binds: readonly string[] | null;
  /** Where HAProxy's figures are; null: it does not say. */
  readonly stats: { readonly url: string; readonly user: string } | null;
  /** It has a configuration of its own, in which all of this may be otherwise. */
  readonly hasTemplate: boolean;
}

export const UNKNOWN: AgentSays = {
  ...{ away: null, refused: false, trouble: null, halted: false, serving: true, recorded: null },
};

export async function askAgent(port: number, password: string, servers: readonly string[]): Promise<AgentSays> {
  const service: Ask = (name, input = {}) =>
    ask(port, `/gantry/admin/gantry.${name}`, { auth: `admin:${password}`, input });
  const { status, body } = await service('balancer.status');
  if (status === 401 || status === 403) return { ...UNKNOWN, refused: true };
  if (status !== 200) return { ...UNKNOWN, away: status === 0 ? body : `it answers ${status}` };
  const balancer = parsed(body) as Balancer;
  const { halted, servers: balanced } = balancer;
  const trouble = halted ? null : (whyNot(balancer) ?? (await missingOf(balanced, servers, service)));
  const serving = balanced.some(({ up }) => up);
  return { ...UNKNOWN, trouble, halted, serving, recorded: await recordedBy(service) };
}

async function recordedBy(service: Ask): Promise<Recorded | null> {
  const { status, body } = await service('balancer.get', { name: 'main' });
  if (status !== 200) return null;
  const { binds, stats, template } = (parsed(body) as { definition: Definition }).definition;
  return {
    binds: binds?.map((one) => urlOf(one, one.certificates === undefined ? 'http' : 'https')) ?? null,
    stats: stats === undefined ? null : { url: urlOf(stats, 'http'), user: stats.user ?? 'admin' },
    hasTemplate: template !== undefined,
  };
}

function urlOf({ host = HOST, port }: Address, scheme: string): string {
  return `${scheme}://${/^[^[]*:/.test(host) ? `[${host}]` : host}:${port}`;
}

type Ask = (service: string, input?: object) => Promise<Answer>;

/** As it was written: what has a default may be left out. */
interface Address {
  readonly host?: string;
  readonly port: number;
}
interface Definition {
  readonly binds?: readonly (Address & { readonly certificates?: readonly string[] })[];
  readonly stats?: Address & { readonly user?: string };
  readonly template?: string;
}
interface Balanced {
  readonly name: string;
  readonly up: boolean;
  readonly state: string;
  readonly check: string;
}
interface Balancer {
  readonly running: boolean;
  readonly halted: boolean;
  readonly problem: string | null;
  readonly failing: { readonly message: string } | null;
  readonly servers: readonly Balanced[];
}

/** Null: HAProxy runs. */
function whyNot({ running, problem, failing }: Balancer): string | null {
  if (running) return null;
  const why = failing?.message ?? problem;
  return why === null ? 'HAProxy does not run' : `HAProxy does not run: ${why}`;
}

/** Null: all that are to be up are. */
async function missingOf(
  balanced: readonly Balanced[],
  servers: readonly string[],
  service: Ask,
): Promise<string | null> {
  const down = servers.filter((name) => !balanced.some((one) => one.name === name && one.up));
  if (down.length === 0) return null;
  // Who was taken out by an administrator, before the last end of all, stays out.
  const members = listOf<{ name: string; wanted: string }>((await service('cluster.status')).body);
  const missing = down
    .filter((name) => !members.some((one) => one.name === name && ['draining', 'offline'].includes(one.wanted)))
    .map((name) => {
      const one = balanced.find((server) => server.name === name);
      return one === undefined ? `${name} is not known` : `${name} is not up (${one.state}, ${one.check})`;
    });
  return missing.length === 0 ? null : missing.join(', ');
}

function listOf<T>(body: string): readonly T[] {
  const { servers } = parsed(body) as { servers?: unknown };
  return Array.isArray(servers) ? (servers as T[]) : [];
}
