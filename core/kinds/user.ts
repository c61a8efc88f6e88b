import { Type } from 'typebox';
import type { Kind } from '../ports/kind.ts';
import type { Passwords } from '../ports/password.ts';
import { placesOf, SecretText } from '../schema/secret.ts';
import { Administrators } from '../users/administrators.ts';
import { ROLES } from '../users/roles.ts';
import { checkUser, keepUser } from '../users/users.ts';

const User = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 200,
      // RFC 7617, 2: a user-id has neither a colon nor control characters.
      pattern: '^[^:\\u0000-\\u001f\\u007f]+$',
      description: 'Unique among users',
    }),
    role: Type.Union(ROLES.map((role) => Type.Literal(role))),
    password: Type.Optional(SecretText({ minLength: 8, description: 'Kept as a hash' })),
    passwordHash: Type.Optional(SecretText({ description: 'What is kept of the password' })),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: is not let in' })),
    // Raising it ends the user's sessions.
    epoch: Type.Optional(Type.Integer({ minimum: 0, default: 0, description: 'Changing it ends all sessions' })),
  },
  { additionalProperties: false },
);

const SECRETS = placesOf({}, { password: SecretText(), passwordHash: SecretText() });

export function user({ passwords }: { readonly passwords: Passwords | null }): Kind {
  const administrators = new Administrators();
  return {
    description: 'A person or program that administers',
    schema: User,
    fields: ['role', 'active'],
    own: ['epoch'],
    roles: { read: 'administrator', write: 'administrator' },
    secrets: () => SECRETS,
    check: checkUser,
    keep: (definition, past) => keepUser(definition, past, passwords),
    // A new password replaces the hash of the old one.
    amend: (body, changes) => {
      const isNew = (changes['password'] ?? null) !== null;
      return { ...body, ...(isNew ? { passwordHash: null } : {}), ...changes };
    },
    protect: (writes, make, siblings) => administrators.keep(writes, make, siblings),
  };
}
