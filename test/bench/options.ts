import { parseArgs } from 'node:util';

export interface Options {
  /** Which benches; empty: all. */
  readonly names: readonly string[];
  readonly rounds: number;
  /** Of one window. */
  readonly seconds: number;
  readonly connections: number;
  /** Of the REST bench; empty: all. */
  readonly servers: readonly string[];
  readonly quick: boolean;
  readonly write: boolean;
}

export const USAGE = `npm run bench -- [rest|start|dispatch|rebind|live|admin|memory ...] [options]

Without a name all of them run.
  --rounds N        alternating rounds (5)
  --seconds N       length of a window (4)
  --connections N   keep-alive connections of the client (32)
  --servers A,B     of the rest bench only these: node-http, fastify, koa, gantry, gantry-middleware
  --quick           two short rounds, to see that everything runs; the figures mean little
  --write           also writes test/bench/results.md
`;

/** Throws an Error with the reason for arguments that it does not know. */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string', default: '32' },
      servers: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    },
  });
  const { quick, write } = values;
  return {
    names: positionals,
    rounds: positive(values.rounds ?? (quick ? '2' : '5'), 'rounds'),
    seconds: positive(values.seconds ?? (quick ? '1' : '4'), 'seconds'),
    connections: positive(values.connections, 'connections'),
    servers: values.servers === '' ? [] : values.servers.split(','),
    quick,
    write,
  };
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} must be a number above 0, not '${text}'`);
}
