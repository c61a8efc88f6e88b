/** The contract kits, for authors of plugins: `import { testTransport } from 'gantry/kit'`. They need mocha, chai and fast-check. */

export { type BusKit, testBus } from './bus.ts';
export { buildCodec, type CodecInput, type CodecUnderTest, testCodec } from './codec.ts';
export { type ConnectionUnderTest, testConnection } from './connection.ts';
export { type Database, type DialectUnderTest, testDialect, type Work } from './dialect.ts';
export { type GuardKit, testGuard } from './guard.ts';
export { type OdbDatabase, type OdbUnderTest, testOdb } from './odb.ts';
export { type PasswordKit, testPasswords } from './password.ts';
export { type StatsKit, testStats } from './stats.ts';
export { type TransportClient, type TransportUnderTest, testTransport } from './transport.ts';
