import type { Balancer } from './balancer.ts';
import type { Bus } from './bus.ts';
import type { Checker } from './checker.ts';
import type { Codec } from './codec.ts';
import type { Dialect } from './dialect.ts';
import type { Guard } from './guard.ts';
import type { HttpHost } from './http.ts';
import type { Kind } from './kind.ts';
import type { Kv } from './kv.ts';
import type { Odb } from './odb.ts';
import type { Passwords } from './password.ts';
import type { Scheduler } from './scheduler.ts';
import type { Stats } from './stats.ts';
import type { Transport } from './transport.ts';

/** Every kind of plugin there is. A port is an interface in this folder and a contract kit in test/kit. */
export interface Ports {
  codec: Codec;
  dialect: Dialect;
  odb: Odb;
  bus: Bus;
  kv: Kv;
  checker: Checker;
  balancer: Balancer;
  password: Passwords;
  stats: Stats;
  guard: Guard;
  scheduler: Scheduler;
  feature: object;
  kind: Kind;
  http: HttpHost;
  transport: Transport;
}
export type Port = keyof Ports;

export interface PortRules {
  /** Many: a Map by name is injected. One: the instance itself, and a second plugin of the port is refused. */
  readonly many: boolean;
  /** The name under which plugins ask for it. */
  readonly token: string;
  /** 0 stores, 1 logic, 2 edges: lower ones start first and stop last. */
  readonly stage: 0 | 1 | 2;
  /** What an instance must have. */
  readonly methods: readonly string[];
}

export const PORTS: { readonly [P in Port]: PortRules } = {
  codec: { many: true, token: 'codecs', stage: 0, methods: ['decode', 'encode'] },
  dialect: { many: false, token: 'dialect', stage: 0, methods: ['options', 'exactText', 'lock', 'classify'] },
  odb: {
    many: false,
    token: 'odb',
    stage: 0,
    methods: [
      ...['revision', 'load', 'find', 'pick', 'list', 'referrers', 'changes', 'history', 'write', 'rehearse'],
      ...['once', 'forget'],
    ],
  },
  bus: { many: false, token: 'bus', stage: 0, methods: ['publish', 'subscribe'] },
  kv: {
    many: false,
    token: 'kv',
    stage: 0,
    methods: [
      ...['get', 'getMany', 'set', 'swap', 'remove', 'increment', 'remainingMs', 'expire', 'list'],
      ...['hashGet', 'hashAll', 'hashSet', 'hashRemove', 'hashIncrement', 'acquire', 'renew', 'release'],
    ],
  },
  checker: { many: false, token: 'checker', stage: 0, methods: ['check'] },
  balancer: {
    many: false,
    token: 'balancer',
    stage: 0,
    methods: ['check', 'apply', 'status', 'source', 'show', 'launch', 'halt', 'reload'],
  },
  password: { many: false, token: 'passwords', stage: 0, methods: ['hash', 'verify'] },
  stats: { many: false, token: 'stats', stage: 0, methods: ['meter', 'snapshot'] },
  guard: { many: true, token: 'guards', stage: 1, methods: ['compile'] },
  scheduler: {
    many: false,
    token: 'scheduler',
    stage: 1,
    methods: [...['status', 'accept', 'fire', 'backfill', 'replay', 'bury', 'cancel', 'history', 'find', 'latest']],
  },
  feature: { many: true, token: 'features', stage: 1, methods: [] },
  kind: { many: true, token: 'kinds', stage: 1, methods: [] },
  http: { many: false, token: 'http', stage: 2, methods: ['route', 'upgrade', 'refuse', 'origin', 'urls'] },
  transport: { many: true, token: 'transports', stage: 2, methods: [] },
};

export function isPort(name: string): name is Port {
  return Object.hasOwn(PORTS, name);
}
/** The port of an id: 'transport' of 'transport.rest'. */
export function portOf(id: string): Port {
  return id.slice(0, id.indexOf('.')) as Port;
}
/** The name of an id: 'rest' of 'transport.rest'. */
export function nameOf(id: string): string {
  return id.slice(id.indexOf('.') + 1);
}
