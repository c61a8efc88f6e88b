/**
 * Which Redis to reach, and how: one server, a master that sentinels know, or a cluster.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { type Problem, type Secret, SecretText, type Static, Type } from '../../core/api.ts';

export type Client = Redis | Cluster;
/** The replies as they always were, whichever protocol is spoken. */
type Options = Omit<RedisOptions, 'replyMapping'>;

const Host = Type.String({ minLength: 1 });
const Port = (port: number) => Type.Integer({ default: port, minimum: 1, maximum: 65535 });

/** For the config of a plugin, beside its own keys. */
export const connectionKeys = {
  url: Type.Optional(
    SecretText({
      description: 'redis://user:password@host:port/db, or rediss:// for TLS. Instead of host, port and db',
    }),
  ),
  host: Type.Optional(Type.String({ minLength: 1, description: 'Default: 127.0.0.1' })),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: 'Default: 6379' })),
  username: Type.Optional(Type.String({ minLength: 1, description: "Of the ACL. Without it, the user 'default'" })),
  password: Type.Optional(SecretText()),
  db: Type.Optional(Type.Integer({ minimum: 0, description: 'Default: 0, the only one that a cluster has' })),
  tls: Type.Optional(
    Type.Object(
      {
        ca: Type.Optional(
          Type.String({ description: 'PEM: the certificates to trust, instead of those of the system' }),
        ),
        cert: Type.Optional(
          Type.String({ description: 'PEM: the certificate that this server shows, with its chain' }),
        ),
        key: Type.Optional(SecretText({ description: 'PEM: the private key of that certificate' })),
        servername: Type.Optional(
          Type.String({ description: 'The name that the certificate must carry, where it is not that of the host' }),
        ),
        rejectUnauthorized: Type.Boolean({
          default: true,
          description: 'False takes any certificate: the other side may then be anybody',
        }),
      },
      { additionalProperties: false, description: 'Given, even empty: TLS to the servers and the sentinels' },
    ),
  ),
  sentinels: Type.Optional(
    Type.Array(Type.Object({ host: Host, port: Port(26379) }, { additionalProperties: false }), {
      minItems: 1,
      description: 'They tell where the master is. Instead of url, host, port and cluster',
    }),
  ),
  master: Type.Optional(Type.String({ minLength: 1, description: 'Its name, as the sentinels call it' })),
  sentinelUsername: Type.Optional(Type.String({ minLength: 1 })),
  sentinelPassword: Type.Optional(SecretText()),
  cluster: Type.Optional(
    Type.Array(Type.Object({ host: Host, port: Port(6379) }, { additionalProperties: false }), {
      minItems: 1,
      description: 'Some of its nodes, which tell of the others. Instead of url, host, port and sentinels',
    }),
  ),
  prefix: Type.String({
    default: 'gantry:',
    maxLength: 100,
    description: 'Of all names in Redis: installations that share one have different ones',
  }),
  commandTimeoutMs: Type.Integer({
    default: 500,
    minimum: 10,
    maximum: 60_000,
    description: 'After it a command that was not answered has failed',
  }),
};
const Connection = Type.Object(connectionKeys);
export type Connection = Readonly<Static<typeof Connection>>;

/** Until a connection is there and has introduced itself, for each address that is tried. */
export const CONNECT_MS = 2000;

/** What is wrong with a config that its schema cannot tell. */
export function problemsOf(plugin: string, config: Connection): Problem[] {
  const problems: Problem[] = [];
  const tell = (key: string, message: string, hint: string) =>
    problems.push({ plugin, path: `plugins.${plugin}.${key}`, message, hint });
  const { url, host, port, username, password, db, tls, sentinels, master, cluster } = config;
  const hostGiven = host !== undefined || port !== undefined;
  const ways = Object.entries({ url, 'host and port': hostGiven || undefined, sentinels, cluster }).filter(
    ([, given]) => given !== undefined,
  );
  const names = ways.map(([name]) => name).join(', ');
  if (ways.length > 1) tell(ways[0]?.[0] ?? '', `is given beside others: ${names}`, 'Keep one way to reach Redis.');
  if ((sentinels === undefined) !== (master === undefined)) {
    const missing = master === undefined ? 'master' : 'sentinels';
    tell(missing, 'is missing', "Sentinels and the master's name, as they call it, belong together.");
  }
  if (sentinels === undefined && (config.sentinelPassword ?? config.sentinelUsername) !== undefined)
    tell('sentinels', 'is missing', 'A sentinelUsername and a sentinelPassword are for sentinels.');
  if (config.sentinelUsername !== undefined && config.sentinelPassword === undefined)
    tell('sentinelPassword', 'is missing', 'A sentinelUsername needs a password.');
  if (cluster !== undefined && (db ?? 0) !== 0)
    tell('db', 'must be 0', 'A cluster has no other database. Installations are held apart by their prefix.');
  if (username !== undefined && password === undefined) tell('password', 'is missing', 'A username needs a password.');
  if (url !== undefined) {
    const read = readUrl(url);
    if (typeof read === 'string') tell('url', read, 'It looks like redis://user:password@redis1:6379/0.');
    else {
      if (db !== undefined) tell('db', 'is given beside the url', "Write it at the end of the url, as '/1'.");
      if (read.password !== undefined && password !== undefined)
        tell('password', 'is given beside the one of the url', 'Keep one of them.');
      if (tls !== undefined && read.tls === undefined)
        tell('tls', 'is given beside a url without it', 'Write rediss:// instead of redis://.');
    }
  }
  const broken = tls === undefined ? null : brokenTls(tls);
  if (broken !== null) tell('tls', `cannot be used: ${broken}`, 'ca, cert and key are the PEM texts themselves.');
  return problems;
}

/** For people: the addresses, without any secret. */
export function whereOf({ url, host = '127.0.0.1', port = 6379, sentinels, master, cluster }: Connection): string {
  const list = (all: readonly { host: string; port: number }[]) => all.map((a) => `${a.host}:${a.port}`).join(', ');
  if (sentinels !== undefined) return `the master '${master}' of the sentinels ${list(sentinels)}`;
  if (cluster !== undefined) return `the cluster of ${list(cluster)}`;
  const read = url === undefined ? undefined : readUrl(url);
  return typeof read === 'object' ? `${read.host}:${read.port}` : `${host}:${port}`;
}

/**
 * A client that connects when it is told to, and once: it never tries again, resends nothing and queues nothing, since
 * what was sent may have been done. `attempt` goes round the addresses, so that one that is dead blocks none. With
 * `oneNode` it reaches a single node of a cluster, which is enough for publish and subscribe.
 */
export function open(config: Connection, name: string, attempt: number, oneNode = false): Client {
  const { sentinels, cluster, commandTimeoutMs } = config;
  const options: Options = {
    ...accessOf(config),
    // Redis takes printable characters without spaces.
    connectionName: name.replace(/[^!-~]/g, '_').slice(0, 200),
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    connectTimeout: CONNECT_MS,
    // Who asks has a shorter limit of its own; this one is for what the client itself sends as it connects.
    commandTimeout: commandTimeoutMs + CONNECT_MS,
    maxLoadingRetryTime: 500,
    disconnectTimeout: 100,
    keepAlive: 10_000,
  };
  if (sentinels !== undefined) {
    const { master = '', sentinelUsername, sentinelPassword } = config;
    return new Redis({
      ...options,
      sentinels: rotated(sentinels, attempt),
      name: master,
      sentinelRetryStrategy: () => null,
      updateSentinels: false,
      sentinelCommandTimeout: CONNECT_MS,
      ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
      ...(sentinelPassword === undefined ? {} : { sentinelPassword: sentinelPassword.reveal() }),
      ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: options.tls }),
    });
  }
  if (cluster === undefined) return new Redis({ ...options, ...addressOf(config) });
  if (oneNode) return new Redis({ ...options, ...rotated(cluster, attempt)[0] });
  // Nodes of a cluster are connected when they are first asked: what is asked meanwhile waits, within its own limit.
  const { enableOfflineQueue: _, retryStrategy: __, ...ofNodes } = options;
  return new Cluster(rotated(cluster, attempt), {
    redisOptions: ofNodes,
    lazyConnect: true,
    clusterRetryStrategy: () => null,
    // A command whose node is lost is not sent again. One that is only told to go to another node is.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: CONNECT_MS,
    // Names are resolved where they are dialled, so that certificates are checked against them.
    dnsLookup: (address, found) => found(null, address),
  });
}

interface Url {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly tls?: object;
}

/** Its parts, or what is wrong with it. */
function readUrl(secret: Secret): Url | string {
  let url: URL;
  let user: string;
  let password: string;
  try {
    url = new URL(secret.reveal());
    [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  } catch {
    return 'is not a URL';
  }
  const db = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') return 'must begin with redis:// or rediss://';
  if (url.hostname === '') return 'has no host';
  if (db === undefined) return 'must end with the number of a database, or with nothing, after the host';
  if (url.search !== '' || url.hash !== '') return "must have nothing behind a '?' or '#'";
  if (user !== '' && password === '') return 'has a user without a password';
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    ...(user === '' ? {} : { username: user }),
    ...(password === '' ? {} : { password }),
    ...(db === '' ? {} : { db: Number(db) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

function addressOf({ url, host = '127.0.0.1', port = 6379 }: Connection): { host: string; port: number } {
  const read = url === undefined ? undefined : readUrl(url);
  return typeof read === 'object' ? { host: read.host, port: read.port } : { host, port };
}

/** Who we are, which database, and TLS. */
function accessOf({ url, username, password, db, tls }: Connection): Options {
  const read = url === undefined ? undefined : readUrl(url);
  const { host: _host, port: _port, ...ofUrl } = typeof read === 'object' ? read : ({} as Url);
  return {
    ...ofUrl,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: password.reveal() }),
    ...(db === undefined ? {} : { db }),
    ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
  };
}

function tlsOf({ key, ...tls }: NonNullable<Connection['tls']>): { rejectUnauthorized: boolean; key?: string } {
  return { ...tls, ...(key === undefined ? {} : { key: key.reveal() }) };
}

function brokenTls(tls: NonNullable<Connection['tls']>): string | null {
  try {
    createSecureContext(tlsOf(tls));
    // A text without any certificate would be taken above, and then trust nobody.
    if (tls.ca !== undefined) new X509Certificate(tls.ca);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function rotated<T extends object>(all: readonly T[], by: number): T[] {
  const at = by % all.length;
  return [...all.slice(at), ...all.slice(0, at)].map((one) => ({ ...one }));
}
