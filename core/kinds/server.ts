import { Type } from 'typebox';
import type { Kind } from '../ports/kind.ts';
import { Name } from './name.ts';

const Server = Type.Object(
  {
    name: Name('servers'),
    urls: Type.Array(Type.String()),
    version: Type.String({ minLength: 1 }),
    startedAt: Type.String({ format: 'date-time' }),
    state: Type.Optional(
      Type.Union([Type.Literal('online'), Type.Literal('draining'), Type.Literal('offline')], {
        default: 'online',
        description: 'What the balancer makes of it. draining: nothing new; offline: nothing at all',
      }),
    ),
    weight: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 256,
        default: 100,
        description: 'Its share of the calls; 100 is a usual one',
      }),
    ),
  },
  { additionalProperties: false },
);

/** Each server writes its own. */
export const server: Kind = {
  description: 'A server of this installation',
  schema: Server,
  fields: ['version', 'state'],
  portable: false,
  roles: { read: 'viewer', write: 'administrator' },
};
