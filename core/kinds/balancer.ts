import type { TObject } from 'typebox';
import { BalancerSettingsSchema } from '../cluster/balancing.ts';
import type { Kind } from '../ports/kind.ts';
import { Name } from './name.ts';

const Balancing = {
  ...BalancerSettingsSchema,
  properties: { name: Name('balancers'), ...BalancerSettingsSchema.properties },
  required: ['name'],
} as TObject;

/** What a balancer's agent reads. */
export const balancer: Kind = {
  description: 'How calls are spread over the servers',
  schema: Balancing,
  fields: ['algorithm'],
  roles: { read: 'viewer', write: 'administrator' },
};
