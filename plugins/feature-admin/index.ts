/** The admin API: binds each service that says so to an address of its own, and makes the first administrator. */
import { randomBytes } from 'node:crypto';
import {
  definePlugin,
  GantryError,
  type Problem,
  pause,
  ROLES,
  SecretText,
  type Service,
  Type,
  toGantryError,
} from '../../core/api.ts';
import type { ChannelDefinition } from '../../core/parts.ts';
import type { Role } from '../../core/ports/index.ts';

/** `attributes.admin` of a service: the least role that may call it, or 'public' for everybody. */
interface Exposure {
  readonly role: Role | 'public';
  /** Default: POST. */
  readonly method?: string;
  /** Below the path of the API. Default: the service's name. */
  readonly path?: string;
}

const FIRST = 'admin';
const GUARD = 'users';
/** How often a server that started without its database looks whether it is there. */
const LOOK_MS = 1000;
/** As core/kinds/index.ts has it for every user; told before anything is made. */
const SHORTEST = 8;
/** What only the config can mend: it is told once, and not for each service. */
const OF_CONFIG = /\.(transport|format|security\.guard)$/;

export default definePlugin({
  id: 'feature.admin',
  api: 1,
  config: Type.Object(
    {
      path: Type.String({ default: '/gantry/admin', pattern: '^/', description: 'Where the admin API is' }),
      transport: Type.String({ default: 'rest', description: 'What carries it' }),
      onRecord: Type.Boolean({
        default: true,
        description: 'Whether this process puts itself on record as a server; an agent does not',
      }),
      maxBodyBytes: Type.Integer({
        default: 67_108_864,
        minimum: 1,
        description: 'Of a request; a whole configuration',
      }),
      adminPassword: Type.Optional(
        SecretText({
          minLength: 0,
          description: `Of the user '${FIRST}', who is made where there is no user yet. Empty: a random one, printed once`,
        }),
      ),
    },
    { additionalProperties: false },
  ),
  needs: ['channels', 'records', 'server'],
  wants: ['http'],
  create({ id, config, hooks, log, channels, records, server, http }) {
    refuseShort(id, config.adminPassword?.reveal() ?? '');
    let unusable: readonly Problem[] = [];

    /** Those whose address another one has: they get it when that one goes. */
    const waiting = new Map<string, Service>();

    hooks.serviceDeployed.tap(id, (service) => {
      try {
        expose(service);
      } finally {
        admit(service.name);
      }
    });
    hooks.serviceRetired.tap(id, (name) => {
      waiting.delete(name);
      withdraw(name);
      admit();
    });

    /** A service that is deployed anew may be for other people than before, or for none. */
    function expose(service: Service): void {
      const { name = '' } = service;
      waiting.delete(name);
      try {
        const exposure = exposureOf(service);
        if (exposure === null) withdraw(name);
        else channels.rebind(channel(name, exposure, config));
      } catch (thrown) {
        withdraw(name);
        const error = toGantryError(thrown);
        if (error.code === 'CHANNEL_DUPLICATE') waiting.set(name, service);
        const ofConfig = error.problems?.filter((one) => OF_CONFIG.test(one.path)) ?? [];
        if (ofConfig.length === 0) throw thrown;
        unusable = ofConfig;
      }
    }
    function withdraw(name: string): void {
      const own = channelName(name);
      if (channels.has(own)) channels.unbind(own);
    }
    /** Who waits for an address may have it by now. */
    function admit(except?: string): void {
      for (const [name, service] of [...waiting]) {
        if (name === except) continue;
        try {
          expose(service);
        } catch (error) {
          log.debug({ service: name, error }, 'the address of a service is still taken');
        }
      }
    }

    const stopping = new AbortController();
    hooks.ready.tapPromise(id, async () => {
      if (isUpToDate()) await introduce();
      // With what is on disk alone nothing can be changed.
      else void introduceLater();
    });

    function isUpToDate(): boolean {
      const { source, staleSince } = records.status();
      return source === 'database' && staleSince === null;
    }

    async function introduce(): Promise<void> {
      await firstAdministrator();
      if (config.onRecord) await announce();
    }

    async function introduceLater(): Promise<void> {
      const { signal } = stopping;
      while (!signal.aborted) {
        await pause(LOOK_MS, signal).catch(() => {});
        if (signal.aborted || !isUpToDate()) continue;
        try {
          return await introduce();
        } catch (thrown) {
          const error = toGantryError(thrown);
          log.error({ error }, 'the first administrator could not be made');
          if (!error.retryable) return;
        }
      }
    }

    async function firstAdministrator(): Promise<void> {
      if ((records.status().counts['user'] ?? 0) > 0) return;
      const configured = config.adminPassword?.reveal() ?? '';
      const password = configured === '' ? randomBytes(15).toString('base64url') : configured;
      try {
        await records.create('user', { name: FIRST, role: 'administrator', password }, { name: server.name });
      } catch (thrown) {
        const error = toGantryError(thrown);
        // Another server that starts at the same time made it, and tells its password.
        if (error.code === 'RECORD_DUPLICATE') return;
        const [problem] = error.problems ?? [];
        // The answer may have been lost, and nobody else knows the password.
        if (error.retryable) tell(`may have been made, though the database did not answer: '${FIRST}'`, password);
        if (error.code !== 'RECORD_INVALID') throw error;
        throw new GantryError(
          'CONFIG_INVALID',
          `The first administrator cannot be made: ${problem?.message ?? error.message}`,
          {
            cause: thrown,
            hint: 'Set GANTRY_ADMIN_PASSWORD to another text, or leave it empty.',
          },
        );
      }
      log.info({ user: FIRST }, 'the first administrator was made');
      tell(`is '${FIRST}'`, password);
    }

    function tell(what: string, password: string): void {
      const isConfigured = password === config.adminPassword?.reveal();
      const told = isConfigured
        ? 'its password is the configured one'
        : `its password, shown only now, is  ${password}`;
      process.stdout.write(`\nThe first administrator ${what}; ${told}\n`);
    }

    /** Who reads the records sees which servers work with them. */
    async function announce(): Promise<void> {
      const { name, version, startedAt } = server;
      const about = { urls: [...(http?.urls() ?? [])], version, startedAt: startedAt.toISOString() };
      const by = { name };
      try {
        const known = await records.get('server', name).catch((thrown: unknown) => {
          if (toGantryError(thrown).kind === 'missing') return null;
          throw thrown;
        });
        if (known === null) await records.create('server', { name, ...about }, by);
        else await records.update('server', name, known.version, about, by);
      } catch (error) {
        log.warn({ error }, 'this server could not be put on record');
      }
    }

    return {
      async start() {
        if (unusable.length === 0) return;
        // Where the channel stands tells nothing: no file has it.
        const problems = unusable.map((one) => ({
          ...one,
          path: `plugins.${id}`,
          message: `needs what is not there: '${one.got}'`,
        }));
        throw new GantryError('CONFIG_INVALID', 'The admin API cannot be bound', { problems });
      },
      async stop() {
        stopping.abort();
      },
    };
  },
});

/** Before a database or a key is made for it. */
function refuseShort(id: string, password: string): void {
  if (password === '' || password.length >= SHORTEST) return;
  const problem: Problem = {
    path: `plugins.${id}.adminPassword`,
    message: `must have at least ${SHORTEST} characters`,
    expected: `at least ${SHORTEST} characters`,
    got: 'a secret',
    plugin: id,
    hint: 'Set GANTRY_ADMIN_PASSWORD to a longer text, or leave it empty: then it is a random one, printed once.',
  };
  throw new GantryError('CONFIG_INVALID', 'The first administrator could not be made', { problems: [problem] });
}

function exposureOf({ name, attributes }: Service): Exposure | null {
  const admin = attributes?.['admin'] as Partial<Exposure> | undefined;
  if (admin === undefined) return null;
  const { role = '', method, path } = admin;
  if (role === 'public' || ROLES.includes(role as Role)) {
    return { role: role as Role, ...(method === undefined ? {} : { method }), ...(path === undefined ? {} : { path }) };
  }
  throw new GantryError('SERVICE_INVALID', `The service '${name}' has no valid attributes.admin.role: '${role}'`, {
    hint: `It is one of public, ${ROLES.join(', ')}.`,
  });
}

function channelName(service: string): string {
  return `gantry.admin/${service}`;
}

interface Place {
  readonly path: string;
  readonly transport: string;
  readonly maxBodyBytes: number;
}

function channel(service: string, exposure: Exposure, { path, transport, maxBodyBytes }: Place): ChannelDefinition {
  const { role, method = 'POST', path: own = service } = exposure;
  return {
    name: channelName(service),
    transport,
    address: { method, path: `${path}/${own}` },
    service,
    format: 'json',
    formats: ['json'],
    settings: { maxBodyBytes },
    ...(role === 'public' ? {} : { security: { guard: GUARD, role } }),
  };
}
