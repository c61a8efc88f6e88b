/** A stranger's plugin: it brings a kind of record, and nothing else. */
import { definePlugin, SecretText, Type } from 'gantry/api';

const Contact = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    team: Type.String({ minLength: 1 }),
    phone: Type.String({ pattern: '^\\+[0-9]{6,15}$' }),
    pin: Type.Optional(SecretText({ description: 'What the person says on the phone' })),
    standsInFor: Type.Optional(Type.String({ description: 'The name of another contact' })),
    active: Type.Optional(Type.Boolean({ default: true })),
  },
  { additionalProperties: false },
);

export default definePlugin({
  id: 'kind.contact',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create() {
    /** Who can be called now: what the records of this kind do to a server. */
    const reachable = new Map<string, string>();
    return {
      description: 'A person to call at night',
      schema: Contact,
      fields: ['team', 'active'],
      roles: { read: 'operator', write: 'developer' },
      check: ({ name, standsInFor }) =>
        name === standsInFor ? [{ path: '/standsInFor', message: 'must be another contact' }] : [],
      references: ({ standsInFor }) =>
        standsInFor === undefined ? [] : [{ kind: 'contact', name: String(standsInFor) }],
      claims: ({ phone }) => [`contact ${phone}`],
      effect: {
        put: ({ name, phone, active }) =>
          void (active === false ? reachable.delete(name) : reachable.set(name, String(phone))),
        drop: (name) => void reachable.delete(name),
      },
      reachable,
    };
  },
});
