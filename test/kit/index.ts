/** The contract kits, for authors of plugins: `import { testTransport } from 'gantry/kit'`. They need mocha, chai and fast-check. */

export { type BalancerKit, balancerSettings, testBalancer } from './balancer.ts';
export { type BusKit, testBus } from './bus.ts';
export { type CheckerKit, type CheckerSamples, testChecker } from './checker.ts';
export { buildCodec, type CodecInput, type CodecUnderTest, testCodec } from './codec.ts';
export { type ConnectionUnderTest, testConnection } from './connection.ts';
export { type Database, type DialectUnderTest, testDialect, type Work } from './dialect.ts';
export { type GuardKit, testGuard } from './guard.ts';
export { type KvKit, testKv } from './kv.ts';
export { type OdbDatabase, type OdbUnderTest, testOdb } from './odb.ts';
export { type PasswordKit, testPasswords } from './password.ts';
export { type SchedulerUnderTest, testScheduler } from './scheduler.ts';
export { type StatsKit, testStats } from './stats.ts';
export { type TransportClient, type TransportUnderTest, testTransport } from './transport.ts';
