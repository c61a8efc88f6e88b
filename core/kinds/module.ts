import { Type } from 'typebox';
import { toGantryError } from '../errors.ts';
import type { Deployments } from '../modules/deployments.ts';
import type { Kind } from '../ports/kind.ts';
import { invalid } from '../records/invalid.ts';

const Module = Type.Object(
  {
    // The part of a file's name before its ending, so that a file that is dropped into a folder has one.
    name: Type.String({
      minLength: 1,
      maxLength: 100,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
      description: 'Unique among modules',
    }),
    language: Type.Optional(
      Type.Union([Type.Literal('typescript'), Type.Literal('javascript')], { default: 'typescript' }),
    ),
    source: Type.String({
      minLength: 1,
      maxLength: 200_000,
      description: 'One file, as it is deployed on every server',
    }),
    services: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 200 }), {
        description: 'What it holds; found out when it is saved',
      }),
    ),
    allowTypeErrors: Type.Optional(Type.Boolean({ default: false, description: 'True: wrong types do not refuse it' })),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: it is kept and not deployed' })),
  },
  { additionalProperties: false },
);

/** What decides whether a module can be deployed. */
const TRIED = ['source', 'language', 'allowTypeErrors'];

export const module = ({ deployments }: { readonly deployments: Deployments }): Kind => ({
  description: 'Source of services that every server runs',
  schema: Module,
  fields: ['language', 'active'],
  own: ['services'],
  // Code may do everything that the server may: its author is an administrator in effect.
  roles: { read: 'viewer', write: 'administrator' },
  async keep(definition, past) {
    // One that stays as it is was tried when it came.
    const isSame = TRIED.every((field) => past?.[field] === definition[field]);
    if (isSame && past?.['services'] !== undefined) return { ...definition, services: past['services'] };
    try {
      return { ...definition, services: await deployments.prepare(definition) };
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (error.code !== 'MODULE_INVALID') throw thrown;
      throw invalid('module', definition.name, error.problems ?? []);
    }
  },
  claims({ active, services = [] }) {
    return active === false ? [] : (services as readonly string[]).map((service) => `service ${service}`);
  },
  effect: {
    put: (definition) => deployments.put(definition),
    drop: (name) => deployments.drop(name),
  },
});
