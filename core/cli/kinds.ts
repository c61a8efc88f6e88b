import type { AdminClient } from './client.ts';

/** What the client knows of a kind of record. */
export interface KnownKind {
  readonly name: string;
  readonly description: string;
  /** The keys of a definition, in their usual order. */
  readonly keys: readonly string[];
  /** The keys by which lists are filtered and sorted. */
  readonly fields: readonly string[];
  /** Whether its records are exported. */
  readonly portable: boolean;
}

/** Of users, from the least to the most. */
export const ROLES = ['viewer', 'operator', 'developer', 'administrator'] as const;

/**
 * The kinds of the core, so that the client loads nothing of the server to know them. A test compares them with what a
 * server has; the kinds of plugins are asked for.
 */
export const KINDS: readonly KnownKind[] = [
  {
    name: 'setting',
    description: 'A value that services read, or that this process obeys',
    keys: ['name', 'value', 'description'],
    fields: [],
    portable: true,
  },
  {
    name: 'dictionary',
    description: 'A table of texts by key',
    keys: ['name', 'entries', 'rows'],
    fields: [],
    portable: true,
  },
  {
    name: 'security',
    description: 'Who may call, shared by the channels that name it',
    keys: ['name', 'guard', 'definition'],
    fields: ['guard'],
    portable: true,
  },
  {
    name: 'connection',
    description: 'The way to another system',
    keys: ['name', 'transport', 'options', 'active'],
    fields: ['transport', 'active'],
    portable: true,
  },
  {
    name: 'module',
    description: 'Source of services that every server runs',
    keys: ['name', 'language', 'source', 'services', 'allowTypeErrors', 'active'],
    fields: ['language', 'active'],
    portable: true,
  },
  {
    name: 'channel',
    description: 'A service at an address',
    keys: [
      'name',
      'transport',
      'address',
      'settings',
      'service',
      'format',
      'formats',
      'security',
      'timeoutMs',
      'idempotency',
      'active',
    ],
    fields: ['transport', 'service', 'format', 'active'],
    portable: true,
  },
  {
    name: 'job',
    description: 'A service that runs at times',
    keys: [
      'name',
      'description',
      'service',
      'schedule',
      'payload',
      'active',
      'jitterMs',
      'timeoutMs',
      'missed',
      'overlap',
      'retries',
      'interrupted',
      'onSuccess',
      'onError',
      'runsOn',
      'removeWhenDone',
      'since',
    ],
    fields: ['service', 'active'],
    portable: true,
  },
  {
    name: 'user',
    description: 'A person or program that administers',
    keys: ['name', 'role', 'password', 'passwordHash', 'active', 'epoch'],
    fields: ['role', 'active'],
    portable: true,
  },
  {
    name: 'balancer',
    description: 'How calls are spread over the servers',
    keys: [
      'name',
      'binds',
      'algorithm',
      'cookie',
      'timeouts',
      'maxConnections',
      'maxPerServer',
      'check',
      'retries',
      'repeatableBytes',
      'log',
      'stats',
      'tcp',
      'template',
    ],
    fields: ['algorithm'],
    portable: true,
  },
  {
    name: 'server',
    description: 'A server of this installation',
    keys: ['name', 'urls', 'version', 'startedAt', 'state', 'weight'],
    fields: ['version', 'state'],
    portable: false,
  },
];

/** One of the core's. */
export function own(name: string): KnownKind {
  const kind = KINDS.find((one) => one.name === name);
  if (kind === undefined) throw new Error(`The core has no kind '${name}'`);
  return kind;
}

/** The kinds of a running server, those of its plugins too. Rejects as the server does. */
export async function kindsOf(client: AdminClient): Promise<readonly KnownKind[]> {
  const { value } = await client.call<{ kinds: readonly KnownKind[] }>('configuration.kinds', {}, { reads: true });
  return value.kinds;
}

/** Which of some names are kinds. The server is asked only for those that the core does not have. */
export async function knownKinds(names: Iterable<string>, client: AdminClient): Promise<ReadonlySet<string>> {
  const own = new Set(KINDS.map(({ name }) => name));
  if ([...names].every((name) => own.has(name))) return own;
  const all = await kindsOf(client).catch(() => []);
  return new Set([...own, ...all.map(({ name }) => name)]);
}
