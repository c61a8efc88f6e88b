/** The admin API as an OpenAPI document. It is made of what is deployed, so it says what is there. */
import {
  defineService,
  type ErrorKind,
  type Kinds,
  type LoadedPlugins,
  type ServerInfo,
  type Service,
  type TSchema,
  Type,
} from 'gantry/api';
import { Schemas } from './_schemas.ts';

/** `attributes.admin` of a service: where it is, and who may call it. */
interface Exposure {
  readonly role: string;
  readonly method?: string;
  readonly path?: string;
}

/** A service that is part of the API. */
interface Exposed extends Service {
  readonly name: string;
  readonly admin: Exposure;
}

type Json = Record<string, unknown>;

const PROBLEM_TYPE = 'application/problem+json';
const PUBLIC = 'public';
/** The methods whose input is in the query. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

/** RFC 9457, with the code, the call and each thing that is wrong. */
const Problem = Type.Object(
  {
    type: Type.String({ format: 'uri', description: 'Names the code' }),
    title: Type.String({ description: 'The status in words' }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({ description: 'What went wrong, for the caller' }),
    code: Type.String({ description: 'The same for every occurrence, e.g. RECORD_STALE' }),
    cid: Type.String({ description: 'The id of the call: it stands in the log and in the audit' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ description: 'JSON pointer (RFC 6901) into the input' }),
          message: Type.String(),
          expected: Type.Optional(Type.String()),
          got: Type.Optional(Type.String()),
          hint: Type.Optional(Type.String()),
        }),
        { description: 'Each thing that is wrong' },
      ),
    ),
  },
  { description: 'Problem details (RFC 9457)' },
);

/** What is told with each status, whoever the service is. */
const FAILURES: Readonly<Record<string, string>> = {
  400: 'The input is not valid; `errors` has a JSON pointer to each place',
  401: 'Nobody, a wrong password, a session that is over, or a user that is switched off',
  403: 'The role of the caller is not enough',
  404: 'What is named is not there; `detail` has the nearest name',
  409: 'Something is in the way: another has changed it, has the name or the address, or uses it',
  413: 'The body is too large',
  415: 'The body is no JSON',
  429: 'Too many wrong passwords, or too much at once; `Retry-After` tells how long to wait',
  500: 'A bug; the log has the `cid`',
  503: 'Something is away, e.g. the database: `Retry-After` tells when to try again',
  504: 'It took too long',
};
const PROTECTED: ReadonlySet<string> = new Set(['401', '403']);

/** The statuses of services' own errors. */
const STATUS: Readonly<Record<ErrorKind, string>> = {
  invalid: '400',
  unauthorized: '401',
  forbidden: '403',
  missing: '404',
  conflict: '409',
  busy: '429',
  bug: '500',
  setup: '500',
  unavailable: '503',
  timeout: '504',
};

export default defineService({
  name: 'gantry.openapi',
  description: 'This document (OpenAPI 3.1)',
  attributes: { admin: { role: PUBLIC, method: 'GET', path: 'openapi.json' } },
  input: Type.Object({}),
  output: Type.Record(Type.String(), Type.Unknown(), { description: 'An OpenAPI 3.1 document' }),
  create: ({ server, services, plugins, kinds }) => {
    let known: readonly Service[] = [];
    let made: Json = {};
    return (_input, { path = '/' }) => {
      const all = services.names().map((name) => services.find(name) as Service);
      const isNews = all.length !== known.length || all.some((service, i) => service !== known[i]);
      if (isNews) [known, made] = [all, documentOf(server, kinds, exposed(services.names(), all, plugins))];
      return { ...made, servers: [{ url: path.slice(0, path.lastIndexOf('/')) || '/' }] };
    };
  },
});

function exposed(names: readonly string[], services: readonly Service[], plugins: LoadedPlugins): Exposed[] {
  return services.flatMap((service, i) => {
    const admin = service.attributes?.['admin'] as Exposure | undefined;
    const name = names[i] as string;
    return admin === undefined ? [] : [{ ...service, name, admin, input: narrowed(name, service.input, plugins) }];
  });
}

/** Parts of a definition that a plugin's own schema describes: of what is loaded, one of these. */
function narrowed(name: string, input: TSchema, { transports, guards }: LoadedPlugins): TSchema {
  const of = (key: 'address' | 'settings' | 'options') => [...transports].map(([own, one]) => [own, one[key]] as const);
  const parts: Readonly<Record<string, Readonly<Record<string, readonly (readonly [string, TSchema | undefined])[]>>>> =
    {
      'gantry.channel.create': { address: of('address'), settings: of('settings') },
      'gantry.connection.create': { options: of('options') },
      'gantry.security.create': { definition: [...guards].map(([own, one]) => [own, one.definition] as const) },
    };
  const properties = { ...(input as { properties?: Record<string, Json> }).properties };
  for (const [key, choices] of Object.entries(parts[name] ?? {})) {
    const anyOf = choices.flatMap(([title, schema]) =>
      schema === undefined ? [] : [{ title, ...(relaxed(schema) as Json) }],
    );
    const { description } = properties[key] ?? {};
    if (anyOf.length > 0) properties[key] = { ...(description === undefined ? {} : { description }), anyOf };
  }
  return name in parts ? ({ ...input, properties } as TSchema) : input;
}

/** What has a default may be left out. */
function relaxed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(relaxed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy: Json = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, relaxed(value)]));
  const { required, properties } = copy as { required?: readonly string[]; properties?: Record<string, Json> };
  if (!Array.isArray(required) || properties === undefined) return copy;
  return { ...copy, required: required.filter((key) => properties[key]?.['default'] === undefined) };
}

function documentOf(server: ServerInfo, kinds: Kinds, services: readonly Exposed[]): Json {
  const schemas = new Schemas();
  const problem = schemas.add('Problem', Problem);
  const paths: Record<string, Json> = {};
  for (const service of services) {
    const { path, method } = placeOf(service);
    paths[path] = { ...paths[path], [method.toLowerCase()]: operation(service, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Gantry admin API',
      version: server.version,
      description:
        'Each service takes and gives JSON. A role may do what those before it may: viewer, operator, developer, administrator.',
    },
    tags: [...new Set(services.map(tagOf))].sort().map((name) => ({ name, ...about(kinds, name) })),
    paths,
    components: {
      schemas: schemas.all(),
      responses: Object.fromEntries(Object.entries(FAILURES).map(([status, text]) => [status, failure(text, problem)])),
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic', description: 'Name and password of a user (RFC 7617)' },
        bearer: { type: 'http', scheme: 'bearer', description: 'The token that gantry.session.create gave (RFC 6750)' },
      },
    },
  };
}

function operation(service: Exposed, schemas: Schemas): Json {
  const { name, admin, description = name } = service;
  const isPublic = admin.role === PUBLIC;
  const parameters = parametersOf(service, schemas);
  return {
    operationId: name,
    summary: description,
    description: isPublic ? 'For everybody.' : `For the role ${admin.role} and those above it.`,
    tags: [tagOf(service)],
    security: isPublic ? [] : [{ basic: [] }, { bearer: [] }],
    'x-gantry-role': admin.role,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...bodyOf(service, schemas),
    responses: { ...success(service, schemas), ...failures(service) },
  };
}

function bodyOf(service: Exposed, schemas: Schemas): Json {
  if (BODILESS.has(placeOf(service).method)) return {};
  const { required = [] } = service.input as { required?: readonly string[] };
  const schema = schemas.add(`${service.name}.request`, service.input);
  return { requestBody: { required: required.length > 0, content: { 'application/json': { schema } } } };
}

function placeOf({ name, admin }: Exposed): { path: string; method: string } {
  return { path: `/${admin.path ?? name}`, method: admin.method ?? 'POST' };
}

/** `channel` of `gantry.channel.list`. */
function tagOf({ name }: Exposed): string {
  const parts = name.split('.');
  return parts.at(parts.length > 2 ? -2 : -1) as string;
}

function about(kinds: Kinds, tag: string): Json {
  const kind = kinds.find(tag);
  return kind === null ? {} : { description: kind.description };
}

/** What the path names, and where there is no body all the rest of the input. */
function parametersOf(service: Exposed, schemas: Schemas): Json[] {
  const { path, method } = placeOf(service);
  const { properties = {}, required = [] } = service.input as { properties?: Json; required?: readonly string[] };
  const inPath = [...path.matchAll(/\{\*?([^}]+)\}/g)].map(([, key]) => key as string);
  const rest = BODILESS.has(method) ? Object.keys(properties).filter((key) => !inPath.includes(key)) : [];
  return [...inPath, ...rest].map((name) => {
    const isPart = inPath.includes(name);
    const schema = schemas.add(
      `${service.name}.${name}`,
      (properties[name] as object | undefined) ?? { type: 'string' },
    );
    return { name, in: isPart ? 'path' : 'query', required: isPart || required.includes(name), schema };
  });
}

function success({ name, output }: Exposed, schemas: Schemas): Json {
  const { type, content } = output as { type?: unknown; content?: unknown };
  if (content !== undefined) return { 200: { description: 'Done', content: { '*/*': {} } } };
  const media = { schema: schemas.add(`${name}.response`, output) };
  const nothing = type === 'null' ? { 204: { description: 'Done, with nothing to say' } } : {};
  return { 200: { description: 'Done', content: { 'application/json': media } }, ...nothing };
}

function failures({ admin, errors = {} }: Exposed): Json {
  const statuses = Object.keys(FAILURES).filter((status) => admin.role !== PUBLIC || !PROTECTED.has(status));
  return Object.fromEntries(
    statuses.map((status) => {
      const own = Object.entries(errors).filter(([, { kind }]) => STATUS[kind] === status);
      const told = own.map(
        ([code, { description }]) => `${code}${description === undefined ? '' : `: ${description}`}`,
      );
      const description = [...told, FAILURES[status]].join('. ');
      return [status, { $ref: `#/components/responses/${status}`, ...(told.length === 0 ? {} : { description }) }];
    }),
  );
}

function failure(description: string, schema: object): Json {
  return {
    description,
    headers: {
      'x-correlation-id': { description: 'The id of the call', schema: { type: 'string' } },
      'retry-after': { description: 'Seconds to wait, where waiting helps', schema: { type: 'integer' } },
    },
    content: { [PROBLEM_TYPE]: { schema } },
  };
}
