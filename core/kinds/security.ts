import { type Securities, SecurityDefinition } from '../calls/securities.ts';
import type { Guard } from '../ports/guard.ts';
import type { Kind } from '../ports/kind.ts';
import { placesOf } from '../schema/secret.ts';
import { keptByGuard } from './guarded.ts';
import { attempted } from './trial.ts';

interface Given {
  readonly securities: Securities;
  readonly guards: ReadonlyMap<string, Guard>;
}

export const security = ({ securities, guards }: Given): Kind => ({
  description: 'Who may call, shared by the channels that name it',
  schema: SecurityDefinition,
  fields: ['guard'],
  roles: { read: 'viewer', write: 'administrator' },
  secrets: ({ guard }) => placesOf({}, { definition: guards.get(String(guard))?.definition }),
  check: (definition) => securities.check(definition as unknown as SecurityDefinition, ''),
  async keep(definition, past) {
    const { name, guard, definition: own } = definition as unknown as SecurityDefinition;
    const earlier = past?.['guard'] === guard ? (past['definition'] as Record<string, unknown>) : null;
    const of = { kind: 'security', name };
    return { ...definition, definition: await keptByGuard(guards.get(guard), own, earlier, of, '.definition') };
  },
  try(whole) {
    const { name, guard, definition } = whole as unknown as SecurityDefinition;
    attempted('security', name, () => void securities.compile(guard, definition, '.definition'));
  },
  effect: {
    put: (definition) => securities.define(definition as unknown as SecurityDefinition),
    drop: (name) => securities.retire(name),
  },
});
