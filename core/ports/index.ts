/** `gantry/ports`: every interface that a plugin implements or is given. Types only. */
export type * from './balancer.ts';
export type * from './bus.ts';
export type * from './checker.ts';
export type * from './codec.ts';
export type * from './dialect.ts';
export type * from './guard.ts';
export type * from './http.ts';
export type * from './kind.ts';
export type * from './kv.ts';
export type * from './leases.ts';
export type * from './odb.ts';
export type * from './page.ts';
export type * from './password.ts';
export type * from './runs.ts';
export type * from './scheduler.ts';
export type * from './stats.ts';
export type * from './transport.ts';
