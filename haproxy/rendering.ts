import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Problem } from 'gantry/api';
import type { BalancerSettings, BalancerState } from 'gantry/ports';
import { addressOf, type Pool, poolServers, serverLine } from './pool.ts';
import { fill } from './template.ts';
import { Words } from './words.ts';

/** What a configuration needs besides the state. */
export interface Surroundings {
  /** The template that comes with us. */
  readonly template: string;
  /** The socket for commands, and the file with the servers' state for the next worker. */
  readonly socket: string;
  readonly states: string;
  /** Of whom the socket is, where HAProxy is started by another user. */
  readonly uid: number | null;
  readonly user?: string | undefined;
  readonly group?: string | undefined;
  readonly serverCa?: string | undefined;
  readonly oldWorkersMs: number;
  /** How many files and sockets it may have open; null: not ours to know. */
  readonly maxFiles: number | null;
}

export interface Rendered {
  readonly text: string;
  readonly pools: readonly Pool[];
  /** Equal for two where what is between them can change while HAProxy runs. */
  readonly frame: string;
  readonly problems: readonly Problem[];
  /** Of callers at once; less than wanted where this machine allows no more. */
  readonly maxConnections: number;
  /** Where a line of the text comes from, for a person. */
  locate(line: number): { readonly path: string; readonly line: number };
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const HOST = /^[A-Za-z0-9_.:*[\]-]{1,255}$/;
const ALGORITHM = /^(roundrobin|leastconn|source|uri)$/;
const LEVEL = /^(emerg|err|warning|notice|info)$/;
/** HTX and the headers that HAProxy adds take room of their own in a buffer. */
const BUFFER_MARGIN_BYTES = 4096;
/** Connections beside those of callers: who looks at the figures must get in when callers have taken all of theirs. */
const OTHERS = 100;

export function render(state: BalancerState, around: Surroundings): Rendered {
  return new Rendering(state, around).make();
}

class Rendering {
  readonly #state: BalancerState;
  readonly #settings: BalancerSettings;
  readonly #around: Surroundings;
  readonly #words = new Words();
  readonly #tcp: Pool[];

  constructor(state: BalancerState, around: Surroundings) {
    this.#state = state;
    this.#settings = state.settings;
    this.#around = around;
    this.#tcp = this.#settings.tcp.map(({ name, serverPort }) => {
      const rules = { settings: this.#settings, serverCa: around.serverCa, port: serverPort };
      return { backend: `tcp-${name}`, hasCookie: false, servers: poolServers(state.servers, rules, new Words()) };
    });
  }

  make(): Rendered {
    const { settings, servers } = this.#state;
    const { serverCa, template: ours } = this.#around;
    const own = poolServers(servers, { settings, serverCa }, this.#words);
    const template = settings.template ?? ours;
    const values = this.#values();
    const filled = fill(template, { ...values, servers: own.map(serverLine), tcp: this.#tcpSections(true) });
    const empty = fill(template, { ...values, servers: [], tcp: this.#tcpSections(false) });
    const within = (wanted: string) =>
      filled.sections.filter(({ name }) => name === wanted).map(({ section }) => section.replace(/^\w+ /, ''));
    const cookies = new Set(within('cookie'));
    const pools: Pool[] = within('servers').map((backend) => ({
      backend,
      hasCookie: settings.cookie !== undefined && cookies.has(backend),
      servers: own,
    }));
    if (within('tcp').length > 0) pools.push(...this.#tcp);
    return {
      text: filled.text,
      pools,
      frame: createHash('sha256').update(empty.text).update(this.#perServer()).digest('hex'),
      problems: [...this.#words.problems, ...filled.problems, ...missing(filled.sections, settings)],
      maxConnections: this.#maxConnections(),
      locate: (line) =>
        settings.template === undefined
          ? { path: '/settings', line }
          : { path: '/settings/template', line: filled.origins[line - 1] ?? line },
    };
  }

  /** What all servers have alike, so that a change of it is none of a single server. */
  #perServer(): string {
    const { check, maxPerServer = null } = this.#settings;
    return JSON.stringify([check, maxPerServer, this.#around.serverCa ?? null]);
  }

  #values(): Record<string, string | readonly string[]> {
    const { timeouts, check, algorithm, retries, repeatableBytes } = this.#settings;
    const ms = (name: keyof typeof timeouts) => this.#words.whole(timeouts[name], `/settings/timeouts/${name}`);
    for (const key of ['everyMs', 'fall', 'rise', 'slowStartMs'] as const) {
      this.#words.whole(check[key], `/settings/check/${key}`);
    }
    if (this.#settings.maxPerServer !== undefined) {
      this.#words.whole(this.#settings.maxPerServer, '/settings/maxPerServer');
    }
    this.#words.whole(repeatableBytes, '/settings/repeatableBytes');
    return {
      control: this.#control(),
      log: this.#log(),
      user: this.#user(),
      maxConnections: String(this.#maxConnections()),
      allConnections: String(this.#maxConnections() + OTHERS),
      bufferBytes: String(repeatableBytes + BUFFER_MARGIN_BYTES),
      oldWorkersMs: String(this.#around.oldWorkersMs),
      connectMs: ms('connectMs'),
      serverMs: ms('serverMs'),
      clientMs: ms('clientMs'),
      requestMs: ms('requestMs'),
      keepAliveMs: ms('keepAliveMs'),
      queueMs: ms('queueMs'),
      tunnelMs: ms('tunnelMs'),
      checkMs: String(check.everyMs),
      checkPath: this.#words.quoted(check.path, '/settings/check/path'),
      retries: this.#words.whole(retries, '/settings/retries'),
      algorithm: this.#words.plain(algorithm, ALGORITHM, '/settings/algorithm'),
      binds: this.#binds(),
      itself: this.#itself(),
      cookie: this.#cookie(),
      stats: this.#stats(),
    };
  }

  /** Where HAProxy hands itself a request again: in no folder on Linux, where any user that it runs as may use it. */
  #itself(): string {
    const { socket } = this.#around;
    if (process.platform !== 'linux') return `unix@${path.join(path.dirname(socket), 'itself.sock')}`;
    return `abns@gantry-${createHash('sha256').update(socket).digest('hex').slice(0, 16)}`;
  }

  #control(): string[] {
    const { socket, states, uid } = this.#around;
    const owner = uid === null ? '' : ` uid ${uid}`;
    return [
      `stats socket ${socket} mode 600${owner} level admin expose-fd listeners`,
      // A new worker begins with what the old one knew: who is down stays down until a check says otherwise.
      `server-state-file ${states}`,
    ];
  }

  #log(): string[] {
    const { to, level } = this.#settings.log;
    const least = this.#words.plain(level, LEVEL, '/settings/log/level');
    if (to === 'stdout') return [`log stdout format short local0 ${least}`];
    const place = this.#words.plain(to, /^[A-Za-z0-9_.:[\]-]+:\d{1,5}$/, '/settings/log/to');
    return [`log ${place} local0 ${least}`];
  }

  #user(): string[] {
    const { user, group = user } = this.#around;
    return [...(user === undefined ? [] : [`user ${user}`]), ...(group === undefined ? [] : [`group ${group}`])];
  }

  /** Each call takes a socket on both sides. With fewer than it needs HAProxy does not start. */
  #maxConnections(): number {
    const { maxFiles } = this.#around;
    const wanted = Number(this.#words.whole(this.#settings.maxConnections, '/settings/maxConnections')) || 0;
    if (maxFiles === null) return wanted;
    const { length } = this.#state.servers;
    // In steps, so that a server more or less changes nothing here: that would be a reload.
    const checks = (1 + this.#tcp.length) * 2 * 2 ** Math.ceil(Math.log2(Math.max(64, length)));
    return Math.max(10, Math.min(wanted, Math.floor((maxFiles - 256 - checks) / 2) - OTHERS));
  }

  #binds(): string[] {
    return this.#settings.binds.map(({ host, port, certificates = [], clientCa }, i) => {
      const at = `/settings/binds/${i}`;
      const words = [`bind ${this.#address(host, port, at)}`];
      if (certificates.length > 0) words.push('ssl');
      words.push(...certificates.map((file, j) => `crt ${this.#words.quoted(file, `${at}/certificates/${j}`)}`));
      if (certificates.length > 0) words.push('alpn h2,http/1.1');
      if (clientCa !== undefined) {
        words.push(`ca-file ${this.#words.quoted(clientCa, `${at}/clientCa`)} verify required`);
        if (certificates.length === 0) this.#lacksCertificate(`${at}/clientCa`);
      }
      return words.join(' ');
    });
  }

  #lacksCertificate(path: string): void {
    this.#words.problems.push({
      path,
      message: 'asks for certificates of clients where there is no TLS',
      hint: 'Give the bind certificates of its own, or take clientCa away.',
    });
  }

  #address(host: string, port: number, at: string): string {
    const plain = this.#words.plain(host, HOST, `${at}/host`);
    const bare = plain.replace(/^\[(.*)\]$/, '$1');
    return addressOf(bare, Number(this.#words.whole(port, `${at}/port`)));
  }

  #cookie(): string[] {
    const { cookie, binds } = this.#settings;
    if (cookie === undefined) return [];
    const name = this.#words.plain(cookie, NAME, '/settings/cookie');
    const isSecure = binds.every(({ certificates = [] }) => certificates.length > 0);
    return [
      `cookie ${name} insert indirect nocache httponly${isSecure ? ' secure' : ''} attr SameSite=Lax dynamic`,
      // Two balancers must give a server the same one.
      `dynamic-cookie-key gantry-${name}`,
    ];
  }

  #stats(): string[] {
    const { stats } = this.#settings;
    if (stats === undefined) return [];
    const at = '/settings/stats';
    const password = this.#words.quoted(stats.password, `${at}/password`);
    return [
      'userlist figures',
      `    user ${this.#words.quoted(stats.user, `${at}/user`)} insecure-password ${password}`,
      'frontend figures',
      `    bind ${this.#address(stats.host, stats.port, at)}`,
      '    http-request auth realm Gantry unless { http_auth(figures) }',
      '    http-request use-service prometheus-exporter if { path /metrics }',
      '    stats enable',
      '    stats uri /',
      '    stats refresh 10s',
      '    stats hide-version',
    ];
  }

  #tcpSections(withServers: boolean): string[] {
    const { tcp, algorithm } = this.#settings;
    return tcp.flatMap(({ name, host, port, serverPort }, i) => {
      const at = `/settings/tcp/${i}`;
      const plain = this.#words.plain(name, NAME, `${at}/name`);
      this.#words.whole(serverPort, `${at}/serverPort`);
      const servers = withServers ? (this.#tcp[i] as Pool).servers.map((server) => `    ${serverLine(server)}`) : [];
      return [
        `frontend tcp-${plain}`,
        '    mode tcp',
        `    bind ${this.#address(host, port, at)}`,
        '    option tcplog',
        `    default_backend tcp-${plain}`,
        `backend tcp-${plain}`,
        '    mode tcp',
        // There is no URI; such connections are long, so that the number of them says most.
        `    balance ${algorithm === 'uri' ? 'leastconn' : algorithm}`,
        '    hash-type consistent',
        '    timeout server-fin 30s',
        ...servers,
      ];
    });
  }
}

/** Without these a template would make a balancer that cannot be steered. */
function missing(sections: readonly { name: string; section: string }[], { template }: BalancerSettings): Problem[] {
  if (template === undefined) return [];
  const path = '/settings/template';
  const hint = 'The built-in template has it; take it from there.';
  const problems: Problem[] = [];
  if (!sections.some(({ name, section }) => name === 'control' && section === 'global')) {
    problems.push({ path, message: 'has no line {{control}} in its global section', hint });
  }
  const homes = sections.filter(({ name }) => name === 'servers').map(({ section }) => section);
  if (homes.length === 0) problems.push({ path, message: 'has no line {{servers}} in a backend', hint });
  for (const home of homes.filter((section) => !/^(backend|listen) ./.test(section))) {
    problems.push({ path, message: `has {{servers}} in '${home}', which is no backend`, hint });
  }
  return problems;
}
