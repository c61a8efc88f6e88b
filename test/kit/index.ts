/** The contract kits, for authors of plugins: `import { testTransport } from 'gantry/kit'`. They need mocha and chai. */
export { type TransportClient, type TransportUnderTest, testTransport } from './transport.ts';
