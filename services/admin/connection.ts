import { defineService, didYouMean, GantryError, Type, toGantryError } from 'gantry/api';
import { Name } from './_kind.ts';

const State = Type.Object({ name: Type.String(), transport: Type.String(), up: Type.Boolean() });

const ping = defineService({
  name: 'gantry.connection.ping',
  description: 'Asks the system behind a connection whether it is there',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({ name: Name }),
  output: Type.Object({
    ok: Type.Boolean(),
    ms: Type.Number(),
    problem: Type.Optional(
      Type.Object({ code: Type.String(), message: Type.String(), hint: Type.Optional(Type.String()) }),
    ),
  }),
  create: ({ connections }) => {
    return async ({ name }) => {
      const outlet = connections.find(name);
      if (outlet === null) {
        const near = didYouMean(
          name,
          connections.list().map((one) => one.name),
        );
        throw new GantryError(
          'NOT_FOUND',
          `No connection '${name}' is open on this server: it does not exist, or is not active. ${near}`.trim(),
        );
      }
      const startedAt = performance.now();
      try {
        await outlet.ping();
        return { ok: true, ms: performance.now() - startedAt };
      } catch (thrown) {
        const { code, message, hint } = toGantryError(thrown);
        const problem = { code, message, ...(hint === undefined ? {} : { hint }) };
        return { ok: false, ms: performance.now() - startedAt, problem };
      }
    };
  },
});

const states = defineService({
  name: 'gantry.connection.states',
  description: 'Which connections of this server are up',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({ items: Type.Array(State) }),
  create: ({ connections }) => {
    return () => ({ items: connections.list().map(({ name, transport, up }) => ({ name, transport, up })) });
  },
});

export default [ping, states];
