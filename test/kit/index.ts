/** The contract kits, for authors of plugins: `import { testTransport } from 'gantry/kit'`. They need mocha, chai and fast-check. */

export { buildCodec, type CodecInput, type CodecUnderTest, testCodec } from './codec.ts';
export { type ConnectionUnderTest, testConnection } from './connection.ts';
export { type GuardKit, testGuard } from './guard.ts';
export { type StatsKit, testStats } from './stats.ts';
export { type TransportClient, type TransportUnderTest, testTransport } from './transport.ts';
