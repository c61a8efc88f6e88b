/** Passes for a while, so that a password is not sent with each call. */
import { defineService, GantryError, Type } from 'gantry/api';
import { author, using } from './_kind.ts';

const create = defineService({
  name: 'gantry.session.create',
  description: 'A token for the caller, to be sent as `authorization: Bearer <token>`',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    minutes: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1440, default: 60, description: 'How long it is good' }),
    ),
  }),
  output: Type.Object({ token: Type.String(), expiresAt: Type.String({ format: 'date-time' }), role: Type.String() }),
  create: ({ sessions }) => {
    return ({ minutes = 60 }, { identity }) => {
      if (sessions === null || identity === null) throw new GantryError('UNAVAILABLE', 'There are no sessions here');
      const { token, expiresAt } = sessions.open(identity.name, minutes * 60_000);
      return { token, expiresAt: expiresAt.toISOString(), role: identity.roles.at(-1) ?? '' };
    };
  },
});

const end = defineService({
  name: 'gantry.session.end',
  description: 'Ends all sessions of the caller, on every server',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({ ended: Type.Boolean() }),
  create: ({ records }) => {
    return async (_input, call) => {
      const kept = using(records);
      const by = author(call);
      const { version, definition } = await kept.get('user', by.name);
      await kept.update('user', by.name, version, { epoch: Number(definition['epoch'] ?? 0) + 1 }, by);
      return { ended: true };
    };
  },
});

const password = defineService({
  name: 'gantry.session.password',
  description: "Changes the caller's own password, and ends all sessions of the caller",
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    // Secret: what is wrong with it is told without it.
    password: Type.Unsafe<string>({
      type: 'string',
      minLength: 8,
      maxLength: 1000,
      secret: true,
      description: 'The new one',
    }),
  }),
  output: Type.Object({ changed: Type.Boolean() }),
  create: ({ records }) => {
    return async (input, call) => {
      const by = author(call);
      // A session that somebody left open is not enough to take the user over.
      if (!/^basic /i.test(String(call.headers['authorization']))) {
        throw new GantryError(
          'FORBIDDEN',
          'A password is changed with the present one: send it by Basic, not by a session',
        );
      }
      const { version } = await using(records).get('user', by.name);
      await using(records).update('user', by.name, version, { password: input.password }, by);
      return { changed: true };
    };
  },
});

export default [create, end, password];
