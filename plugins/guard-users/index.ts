/** Lets the users of this installation in: by HTTP's Basic scheme (RFC 7617), or by a session token (RFC 6750). */
import {
  type Call,
  definePlugin,
  GantryError,
  type Identity,
  type LiveRecord,
  ROLES,
  type Static,
  Type,
} from '../../core/api.ts';
import type { Role } from '../../core/ports/index.ts';
import { basicOf, bearerOf } from './credentials.ts';
import { Throttle } from './throttle.ts';

const Definition = Type.Object(
  {
    role: Type.Optional(
      Type.Union(
        ROLES.map((role) => Type.Literal(role)),
        { default: 'viewer', description: 'The least role that is let in: each may do what those before it may' },
      ),
    ),
  },
  { additionalProperties: false },
);
type Definition = Static<typeof Definition>;

const CHALLENGE = 'Basic realm="gantry", charset="UTF-8", Bearer realm="gantry"';
const HINT = 'A user of this installation: by name and password (Basic), or by the token of a session (Bearer).';

export default definePlugin({
  id: 'guard.users',
  api: 1,
  config: Type.Object(
    {
      maxFailures: Type.Integer({
        default: 10,
        minimum: 1,
        description: 'Wrong passwords for one name from one address, after which it has to wait',
      }),
      waitMs: Type.Integer({ default: 30_000, minimum: 1, maximum: 3_600_000, description: 'How long it has to wait' }),
    },
    { additionalProperties: false },
  ),
  needs: ['records', 'sessions', 'passwords'],
  create({ config, records, sessions, passwords }) {
    const throttle = new Throttle(config.maxFailures, config.waitMs);
    const identities = new WeakMap<LiveRecord, Identity>();

    const identity = (user: LiveRecord): Identity => {
      let known = identities.get(user);
      if (known === undefined) {
        const role = user.definition['role'] as Role;
        const roles = ROLES.slice(0, ROLES.indexOf(role) + 1);
        identities.set(user, (known = Object.freeze({ name: user.name, roles: Object.freeze(roles) })));
      }
      return known;
    };
    const byToken = (token: string): LiveRecord | null => {
      const name = sessions.check(token);
      return name === null ? null : records.find('user', name);
    };
    const byPassword = async (call: Call, name: string, password: string): Promise<LiveRecord | null> => {
      // No user has a longer name, and what callers send must not fill the memory.
      const who = `${call.remote ?? ''} ${name.slice(0, 200)}`;
      throttle.refuse(who);
      const found = records.find('user', name);
      const user = found !== null && found.definition['active'] !== false ? found : null;
      const hash = user?.definition['passwordHash'];
      // With no user the name is checked along: who guesses one password for two names must not find them treated as one.
      const right =
        typeof hash === 'string'
          ? await passwords.verify(password, hash)
          : await passwords.verify(`${name}:${password}`, null);
      if (right) throttle.forget(who);
      else throttle.failed(who);
      return right ? user : null;
    };

    return {
      definition: Definition,
      compile(definition) {
        const { role = 'viewer' } = definition as Definition;
        const admit = (user: LiveRecord | null): Identity => {
          if (user === null) {
            throw new GantryError('AUTH_REJECTED', 'User, password or session is not valid', {
              challenge: CHALLENGE,
              hint: HINT,
            });
          }
          const own = identity(user);
          if (own.roles.includes(role)) return own;
          throw new GantryError('AUTH_FORBIDDEN', `The role ${role} is needed; '${own.name}' is ${own.roles.at(-1)}`);
        };
        return async (call) => {
          const given = call.headers['authorization'];
          if (given === undefined || given.length === 0) {
            throw new GantryError('AUTH_MISSING', 'A user and password, or a session, is needed', {
              challenge: CHALLENGE,
              hint: HINT,
            });
          }
          const header = typeof given === 'string' ? given : '';
          const token = bearerOf(header);
          if (token !== null) return admit(byToken(token));
          const basic = basicOf(header);
          return admit(basic === null ? null : await byPassword(call, basic.name, basic.password));
        };
      },
    };
  },
});
