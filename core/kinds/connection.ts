import { ConnectionDefinition, type Connections } from '../calls/connections.ts';
import type { Kind } from '../ports/kind.ts';
import type { Transport } from '../ports/transport.ts';
import { placesOf } from '../schema/secret.ts';

interface Given {
  readonly connections: Connections;
  readonly transports: ReadonlyMap<string, Transport>;
}

/** A system that does not answer must not keep other changes waiting for longer. */
const OPENING_MS = 1000;

export const connection = ({ connections, transports }: Given): Kind => ({
  description: 'The way to another system',
  schema: ConnectionDefinition,
  fields: ['transport', 'active'],
  roles: { read: 'viewer', write: 'developer' },
  secrets: ({ transport }) => placesOf({}, { options: transports.get(String(transport))?.options }),
  check: (definition) => connections.check(definition as unknown as ConnectionDefinition, ''),
  effect: {
    patienceMs: OPENING_MS,
    async put(definition) {
      const given = definition as unknown as ConnectionDefinition;
      if (given.active === false) await connections.close(given.name);
      else await connections.replace(given);
    },
    drop: (name) => connections.close(name),
  },
});
