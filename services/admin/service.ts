/** What is deployed here, and trying it. */
import { defineService, didYouMean, GantryError, isGantryError, Type } from 'gantry/api';
import { below, Name } from './_kind.ts';

const About = Type.Object({
  name: Type.String(),
  description: Type.Optional(Type.String()),
  attributes: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});
/** A JSON Schema. */
const Schema = Type.Record(Type.String(), Type.Unknown());

const list = defineService({
  name: 'gantry.service.list',
  description: 'The services that are deployed on this server',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    search: Type.Optional(Type.String({ maxLength: 200, description: 'A part of the name' })),
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 200 })),
  }),
  output: Type.Object({
    items: Type.Array(About),
    next: Type.Union([Type.String(), Type.Null()]),
    total: Type.Integer(),
  }),
  create: ({ services }) => {
    return ({ search = '', after = '', limit = 200 }) => {
      const names = services.names().filter((name) => name.toLowerCase().includes(search.toLowerCase()));
      const page = names.filter((name) => name > after).slice(0, limit + 1);
      const items = page.slice(0, limit).map((name) => {
        const { description, attributes } = services.find(name) ?? {};
        return {
          name,
          ...(description === undefined ? {} : { description }),
          ...(attributes === undefined ? {} : { attributes: { ...attributes } }),
        };
      });
      return { items, next: page.length > limit ? (items.at(-1)?.name ?? null) : null, total: names.length };
    };
  },
});

const get = defineService({
  name: 'gantry.service.get',
  description: 'A deployed service with its schemas',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({ name: Name }),
  output: Type.Object({
    ...About.properties,
    input: Schema,
    output: Schema,
    errors: Type.Record(Type.String(), Type.Object({ kind: Type.String(), description: Type.Optional(Type.String()) })),
    timeoutMs: Type.Optional(Type.Integer()),
  }),
  create: ({ services }) => {
    return ({ name }) => {
      const found = services.find(name);
      if (found === null) throw missing(name, services.names());
      const { description, attributes, input, output, errors = {}, timeoutMs } = found;
      return {
        name,
        ...(description === undefined ? {} : { description }),
        ...(attributes === undefined ? {} : { attributes: { ...attributes } }),
        input: input as Record<string, unknown>,
        output: output as Record<string, unknown>,
        errors: { ...errors },
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      };
    };
  },
});

const invoke = defineService({
  name: 'gantry.service.invoke',
  description: 'Runs a service once, as the caller, and gives its output',
  attributes: { admin: { role: 'developer' } },
  input: Type.Object({
    name: Name,
    input: Type.Optional(Type.Unknown({ description: 'Any JSON; checked by the schema of the service' })),
    verb: Type.Optional(Type.String({ description: 'For a service with a handler for each verb' })),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600_000 })),
  }),
  output: Type.Object({ output: Type.Optional(Type.Unknown()), ms: Type.Number() }),
  create: ({ services }) => {
    return async ({ name, input, verb, timeoutMs }, call) => {
      const found = services.find(name);
      if (found === null) throw missing(name, services.names());
      // Administration goes through its own doors, each of which has its role.
      if (found.attributes?.['admin'] !== undefined) {
        throw new GantryError('FORBIDDEN', `'${name}' belongs to the admin API: call it there`);
      }
      const startedAt = performance.now();
      const options = { ...(verb === undefined ? {} : { verb }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
      try {
        const output = await call.invoke(name, input, options);
        return { output: jsonOf(name, output), ms: performance.now() - startedAt };
      } catch (thrown) {
        throw refusal(name, thrown);
      }
    };
  },
});

function missing(name: string, known: readonly string[]): GantryError {
  return new GantryError('SERVICE_NOT_FOUND', `No service is named '${name}'. ${didYouMean(name, known)}`.trim());
}

/**
 * One service that invokes another wrongly has a bug; here it is the caller who names the other. What that one then does
 * wrong itself is its own: the hint tells which was invoked.
 */
function refusal(name: string, thrown: unknown): unknown {
  if (!isGantryError(thrown) || thrown.code !== 'INVOCATION_INVALID') return thrown;
  const { cause, message, hint = '' } = thrown;
  if (hint.startsWith(`'${name}' was invoked`)) return below('/input', cause);
  if (hint.startsWith(`service '${name}' handles`)) return new GantryError('INVALID', `${message}. ${hint}`);
  return thrown;
}

/** A stream or bytes cannot be shown here. */
function jsonOf(name: string, output: unknown): unknown {
  const raw = output instanceof Uint8Array || typeof (output as { pipe?: unknown } | null)?.pipe === 'function';
  if (!raw) return output;
  (output as { destroy?: () => void }).destroy?.();
  throw new GantryError('INVALID', `'${name}' gives bytes or a stream: call it through a channel`);
}

export default [list, get, invoke];
