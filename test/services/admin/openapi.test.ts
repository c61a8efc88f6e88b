/** The OpenAPI document of the admin API, and whether the API does what it says. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { expect } from 'chai';
import { Bytes, defineService, GantryError, ROLES, SecretText, type Service, Type } from '../../../core/api.ts';
import { until } from '../../chaos/condition.ts';
import { moduleOf } from '../../fixtures/module.ts';
import { type AdminServer, adminServer, basic, PASSWORD } from './server.ts';

interface Media {
  readonly schema?: object;
}
interface Response {
  readonly $ref?: string;
  readonly description: string;
  readonly content?: Readonly<Record<string, Media>>;
}
interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly description: string;
  readonly security: readonly object[];
  readonly 'x-gantry-role': string;
  readonly parameters?: readonly { name: string; in: string; required: boolean; schema: object }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Response>>;
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly responses: Readonly<Record<string, Response>>;
  };
}

/** Whatever a stranger's service may bring: paths, queries, recursion, tuples, secrets, errors, no output, bytes. */
const FOREIGN: readonly Service[] = [
  defineService({
    name: 'acme.later',
    description: 'Gives the token of a durable call that is given up',
    input: Type.Object({}),
    output: Type.Object({ token: Type.String() }),
    create: () => async (_input, call) => {
      if (call.firing !== null) throw new GantryError('CONFLICT', 'never');
      return { token: await call.invokeAsync('acme.later', {}, { durable: { attempts: 1 } }) };
    },
  }),
  defineService({
    name: 'acme.part.find',
    description: 'Finds a part',
    attributes: { admin: { role: 'operator', method: 'GET', path: 'parts/{id}' } },
    input: Type.Object({ id: Type.Integer(), depth: Type.Optional(Type.Integer({ minimum: 0 })) }),
    output: Type.Cyclic({ Part: Type.Object({ id: Type.Integer(), parts: Type.Array(Type.Ref('Part')) }) }, 'Part'),
    errors: {
      NO_SUCH_PART: { kind: 'missing', description: 'There is no part of that number' },
      SPOILT: { kind: 'conflict' },
    },
    create:
      ({ errors }) =>
      ({ id, depth = 1 }) => {
        if (id === 0) throw errors.NO_SUCH_PART('There is no part 0');
        return { id, parts: depth > 0 ? [{ id: id + 1, parts: [] }] : [] };
      },
  }),
  defineService({
    name: 'acme.part.keep',
    attributes: { admin: { role: 'developer' } },
    input: Type.Object({
      /** Names of fields, and no keywords. */
      secret: SecretText({ minLength: 4 }),
      content: Type.Tuple([Type.String(), Type.Integer()]),
      $defs: Type.Optional(Type.String()),
    }),
    output: Type.Null(),
    create: () => () => null,
  }),
  defineService({
    name: 'acme photo!',
    attributes: { admin: { role: 'viewer', path: 'photo' } },
    input: Type.Object({}),
    output: Bytes,
    create: () => (_input, call) => {
      call.reply.contentType = 'image/png';
      return new Uint8Array([1, 2, 3]);
    },
  }),
  defineService({ name: 'acme.inner', input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 }),
];

describe('services/admin: openapi', () => {
  let server: AdminServer;
  let document: Document;
  let peer: Server;
  let peerUrl: string;
  const at = () => `${server.url}/gantry/admin`;

  before(async () => {
    peer = createServer((_req, res) => res.end('{}')).listen(0, '127.0.0.1');
    await once(peer, 'listening');
    peerUrl = `http://127.0.0.1:${(peer.address() as AddressInfo).port}`;
    server = await adminServer({ services: FOREIGN, config: { 'scheduler.agenda': { beatMs: 100 } } });
    const reply = await fetch(`${at()}/openapi.json`);
    expect(reply.status).to.equal(200);
    document = (await reply.json()) as Document;
  });
  after(async () => {
    await server.stop();
    peer.closeAllConnections();
    peer.close();
  });

  const operations = (): { path: string; method: string; operation: Operation }[] =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    );
  const find = (id: string) => {
    const found = operations().find(({ operation }) => operation.operationId === id);
    if (found === undefined) throw new Error(`no operation ${id}`);
    return found;
  };
  const responseOf = (operation: Operation, status: number): Response => {
    const given = operation.responses[status];
    expect(given, `${operation.operationId} documents ${status}`).to.not.equal(undefined);
    const { $ref } = given as Response;
    if ($ref === undefined) return given as Response;
    return document.components.responses[$ref.split('/').at(-1) as string] as Response;
  };

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect(errors ?? []).to.deep.equal([]);
    expect(valid).to.equal(true);
    expect(document.openapi).to.match(/^3\.1\./);
    expect(document.info.version).to.equal('1.2.3');
  });

  it('has every service that is part of the admin API, and no other', () => {
    const { services } = server.kernel.cradle;
    const exposed = services.names().filter((name) => services.find(name)?.attributes?.['admin'] !== undefined);
    expect(exposed).to.include.members(['gantry.openapi', 'gantry.channel.create', 'acme.part.find', 'acme photo!']);
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(ids.sort()).to.deep.equal([...exposed].sort());
    expect(ids).to.not.include.members(['demo.hello', 'acme.inner']);
  });

  it('has no reference that leads nowhere, and none of our own keywords', () => {
    const refs: string[] = [];
    const look = (node: unknown, names: boolean): void => {
      if (typeof node !== 'object' || node === null) return;
      for (const [key, value] of Object.entries(node)) {
        if (!names && key === '$ref') refs.push(String(value));
        const isSchema = !names && ['secret', '$defs', 'definitions', '$id', 'additionalItems'].includes(key);
        expect(isSchema, `a keyword ${key} in ${JSON.stringify(node)}`).to.equal(false);
        look(value, !names && ['properties', 'schemas', 'paths', 'patternProperties'].includes(key));
      }
    };
    look(document, false);
    expect(refs.length).to.be.greaterThan(100);
    for (const ref of new Set(refs)) {
      const steps = ref.replace('#/', '').split('/');
      const target = steps.reduce<unknown>(
        (node, step) => (node as Record<string, unknown> | undefined)?.[step],
        document,
      );
      expect(target, ref).to.be.an('object');
    }
  });

  it('tells of secrets only how to send them', () => {
    const { schemas } = document.components;
    const password = (schemas['gantry.user.create.request'] as { properties: { password: object } }).properties
      .password;
    expect(password).to.include({ type: 'string', writeOnly: true, format: 'password', minLength: 8 });
    const keep = schemas['acme.part.keep.request'] as { properties: Record<string, object>; required: string[] };
    expect(Object.keys(keep.properties)).to.have.members(['secret', 'content', '$defs']);
    expect(keep.properties['secret']).to.include({ writeOnly: true, format: 'password' });
    expect(keep.properties['content']).to.deep.include({
      prefixItems: [{ type: 'string' }, { type: 'integer' }],
      items: false,
    });
  });

  it('tells the role, the tag and the ways in of each', () => {
    for (const { operation } of operations()) {
      const role = operation['x-gantry-role'];
      expect(['public', ...ROLES]).to.include(role);
      expect(operation.security).to.deep.equal(role === 'public' ? [] : [{ basic: [] }, { bearer: [] }]);
      if (role !== 'public') expect(operation.description).to.include(role);
      expect(operation.tags).to.have.lengthOf(1);
      expect(document.tags.map(({ name }) => name)).to.include(operation.tags[0]);
    }
    expect(find('gantry.channel.create').operation).to.deep.include({
      tags: ['channel'],
      'x-gantry-role': 'developer',
    });
    expect(find('gantry.user.get').operation['x-gantry-role']).to.equal('administrator');
  });

  it('tells paths, queries, bodies and errors of a service as they are', () => {
    const part = find('acme.part.find');
    expect([part.path, part.method]).to.deep.equal(['/parts/{id}', 'get']);
    expect(part.operation.parameters?.map((one) => [one.name, one.in, one.required])).to.deep.equal([
      ['id', 'path', true],
      ['depth', 'query', false],
    ]);
    expect(part.operation.requestBody).to.equal(undefined);
    expect(part.operation.responses['404']?.description).to.include('NO_SUCH_PART: There is no part of that number');
    expect(part.operation.responses['409']?.description).to.include('SPOILT');
    const keep = find('acme.part.keep').operation;
    expect(keep.requestBody?.required).to.equal(true);
    expect(Object.keys(keep.responses)).to.include.members(['200', '204']);
    expect(Object.keys(part.operation.responses)).to.not.include('204');
    expect(find('gantry.server.info').operation.requestBody?.required).to.equal(false);
    expect(Object.keys(find('gantry.openapi').operation.responses)).to.not.include.members(['401', '403']);
  });

  it('says where it is itself, by the address that it was asked for', async () => {
    expect(document.servers).to.deep.equal([{ url: '/gantry/admin' }]);
    const other = await adminServer({ config: { 'feature.admin': { path: '/intern' } } });
    try {
      const reply = await fetch(`${other.url}/intern/openapi.json`);
      expect(((await reply.json()) as Document).servers).to.deep.equal([{ url: '/intern' }]);
    } finally {
      await other.stop();
    }
  });

  it('changes with what is deployed', async () => {
    const extra = defineService({
      name: 'acme.extra.run',
      attributes: { admin: { role: 'viewer' } },
      input: Type.Object({}),
      output: Type.Object({}),
      create: () => () => ({}),
    });
    const read = async () => (await (await fetch(`${at()}/openapi.json`)).json()) as Document;
    server.kernel.cradle.services.deploy(extra);
    expect(Object.keys((await read()).paths)).to.include('/acme.extra.run');
    server.kernel.cradle.services.retire('acme.extra.run');
    expect(Object.keys((await read()).paths)).to.not.include('/acme.extra.run');
  });

  describe('and the API', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: true, allErrors: true });
    addFormats.default(ajv);
    let called: Set<string>;

    before(() => {
      ajv.addSchema({ ...document, $id: 'doc' }, 'doc');
      called = new Set();
    });

    /** Against a schema of the document. */
    const fits = (schema: object, value: unknown, what: string) => {
      const { $ref } = schema as { $ref?: string };
      const validate = ajv.compile($ref === undefined ? schema : { $ref: `doc${$ref}` });
      expect(validate(value), `${what}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`).to.equal(true);
    };

    /** Calls an operation as the document says, and holds the reply against it. */
    const call = async (
      id: string,
      input: Readonly<Record<string, unknown>>,
      status = 200,
      authorization = basic('admin'),
    ) => {
      const { path, method, operation } = find(id);
      const { parameters = [], requestBody } = operation;
      const inPath = parameters.filter((one) => one.in === 'path');
      const query = parameters.filter((one) => one.in === 'query' && one.name in input);
      const address = inPath.reduce((made, { name }) => made.replace(`{${name}}`, String(input[name])), path);
      const search = new URLSearchParams(query.map(({ name }) => [name, String(input[name])] as [string, string]));
      for (const { name, schema } of [...inPath, ...query]) fits(schema, input[name], `${id} parameter ${name}`);
      const schema = requestBody?.content['application/json']?.schema;
      if (status < 300 && schema !== undefined) fits(schema, input, `the request of ${id}`);
      const reply = await fetch(`${at()}${address.replaceAll(' ', '%20')}?${search}`, {
        method: method.toUpperCase(),
        headers: { 'content-type': 'application/json', ...(operation.security.length === 0 ? {} : { authorization }) },
        ...(requestBody === undefined ? {} : { body: JSON.stringify(input) }),
      });
      const text = await reply.text();
      expect(reply.status, `${id}: ${text}`).to.equal(status);
      const documented = responseOf(operation, status);
      const type = (reply.headers.get('content-type') ?? '').split(';')[0] as string;
      const media = documented.content?.[type] ?? documented.content?.['*/*'];
      if (text === '') expect(documented.content, `${id} has no body`).to.equal(undefined);
      else expect(media, `${id} documents ${type}`).to.not.equal(undefined);
      const { schema: expected } = media ?? {};
      const value = expected === undefined ? text : JSON.parse(text);
      if (expected !== undefined) fits(expected, value, `the reply of ${id}`);
      if (status < 300) called.add(id);
      return value;
    };

    /** The life of one record, through every service of its kind. */
    const life = async (kind: string, definition: Readonly<Record<string, unknown>>, changes: object) => {
      const name = 'one';
      await call(`gantry.${kind}.create`, { name, ...definition });
      await call(`gantry.${kind}.get`, { name });
      const listed = await call(`gantry.${kind}.list`, { search: 'o', limit: 10, sort: 'changedAt', descending: true });
      expect(listed.items.length).to.be.greaterThan(0);
      await call(`gantry.${kind}.update`, { name, version: 1, changes });
      await call(`gantry.${kind}.usage`, { name });
      if (`/gantry.${kind}.toggle` in document.paths) {
        await call(`gantry.${kind}.toggle`, { name, version: 2, active: false });
      }
      await call(`gantry.${kind}.remove`, { name });
    };

    it('answers as the document says: records', async () => {
      const startedAt = new Date().toISOString();
      const rest = { transport: 'rest', address: { method: 'POST', path: '/openapi/one' }, service: 'demo.hello' };
      await life('setting', { value: { any: ['thing'] } }, { value: 5, description: 'Changed' });
      await call('gantry.setting.create', { name: 'kept', value: 5 });
      await life('dictionary', { entries: { EUR: 'euro' } }, { entries: {} });
      await life(
        'security',
        { guard: 'apikey', definition: { keys: [{ name: 'a', key: 'a-key-of-sixteen-1' }] } },
        {
          definition: { keys: [{ name: 'b', key: 'a-key-of-sixteen-2' }] },
        },
      );
      await life('channel', rest, { timeoutMs: 500 });
      await life('job', { service: 'demo.hello', schedule: { everyMs: 60_000 } }, { payload: { name: 'Ada' } });
      await life('module', { language: 'typescript', source: moduleOf('shop.a') }, { active: false });
      await life('server', { urls: [], version: '1', startedAt }, { urls: [peerUrl] });
      await life('balancer', { algorithm: 'leastconn', timeouts: { serverMs: 90_000 } }, { retries: 2 });
      await life('user', { role: 'viewer', password: 'password of one' }, { role: 'operator' });
      await life('connection', { transport: 'rest', options: { url: peerUrl } }, { options: { url: `${peerUrl}/a` } });
    });

    it('answers as the document says: jobs and runs', async () => {
      const start = new Date(Date.now() - 2 * 3_600_000).toISOString();
      const schedule = { everyMs: 3_600_000, start };
      await call('gantry.job.create', { name: 'two', service: 'demo.hello', schedule, payload: { name: 'Ada' } });
      await call('gantry.job.next', { name: 'two', count: 2 });
      await call('gantry.job.next', { definition: { schedule: { cron: '@daily' } } });
      await call('gantry.job.backfill', { name: 'two', from: start, limit: 5 });
      await call('gantry.job.run', { name: 'two', payload: { name: 'Grace' } });
      const { output } = await call('gantry.service.invoke', { name: 'acme.later', input: {} });
      const { token } = output as { token: string };
      await until('it is given up', async () => (await call('gantry.run.dead', { of: 'calls' })).total === 1);
      await until(
        'jobs ran',
        async () => (await call('gantry.job.history', { name: 'two' })).items[0].outcome !== null,
      );
      await call('gantry.job.overview', { search: 't', limit: 10 });
      await call('gantry.run.get', { token });
      await call('gantry.run.list', { service: 'acme.later', state: 'ended', outcome: 'failed' });
      await call('gantry.run.replay', { tokens: [token], attempts: 1 });
      await until('it is given up again', async () => (await call('gantry.run.dead', {})).total === 1);
      await call('gantry.run.bury', { all: true });
      await call('gantry.run.cancel', { token }, 409);
      await call('gantry.scheduler.pause', {});
      await call('gantry.job.overview', {});
      await call('gantry.scheduler.resume', {});
      await call('gantry.scheduler.status', {});
      await call('gantry.job.remove', { name: 'two' });
      const later = await server.kernel.cradle.scheduler.accept({
        ...{ service: 'acme.later', input: {}, verb: null, cid: 'c', channel: 'c', identity: null, traceparent: null },
        ...{ callback: null, attempts: 1, backoffMs: 1, maxBackoffMs: 1, timeoutMs: null, afterMs: 60_000, key: null },
      });
      await call('gantry.run.cancel', { token: later });
    });

    it('answers as the document says: all that is left', async () => {
      const startedAt = new Date().toISOString();
      await call('gantry.connection.create', { name: 'peer', transport: 'rest', options: { url: peerUrl } });
      expect(await call('gantry.connection.ping', { name: 'peer' })).to.include({ ok: true });
      peer.closeAllConnections();
      await new Promise((resolve) => peer.close(resolve));
      expect(await call('gantry.connection.ping', { name: 'peer' })).to.include({ ok: false });
      await call('gantry.connection.states', {});
      await call('gantry.server.info', {});
      await call('gantry.server.health', {});
      await call('gantry.server.create', { name: 'two', urls: [], version: '1', startedAt });
      for (const verb of ['drain', 'offline', 'online']) await call(`gantry.server.${verb}`, { name: 'two' });
      await call('gantry.server.weight', { name: 'two', weight: 50 });
      await call('gantry.service.list', { search: 'demo', limit: 2 });
      await call('gantry.service.get', { name: 'gantry.channel.create' });
      await call('gantry.service.invoke', { name: 'demo.hello', input: { name: 'Ada' } });
      await call('gantry.audit.list', { kind: 'setting', limit: 5 });
      await call('gantry.statistics.list', { per: 'minute', search: 'openapi', limit: 5 });
      await call('gantry.statistics.slowest', { by: 'p95', limit: 5 });
      await call('gantry.statistics.busiest', {});
      await call('gantry.statistics.trend', { service: 'demo.hello', per: 'day' });
      await call('gantry.statistics.compare', { from: startedAt, against: 'day' });
      await call('gantry.statistics.slowCalls', {});
      await call('gantry.statistics.csv', { per: 'hour' });
      await call('gantry.module.upload', { file: 'up.ts', source: moduleOf('shop.up', 1) });
      await call('gantry.module.upload', { file: 'up.ts', source: moduleOf('shop.up', 2) });
      await call('gantry.module.history', { name: 'up' });
      await call('gantry.module.rollback', { name: 'up', version: 1 });
      await call('gantry.module.status', {});
      const { records } = await call('gantry.configuration.export', {});
      await call('gantry.configuration.apply', { records, dryRun: true });
      await call('gantry.configuration.reseal', {});
      await call('gantry.configuration.kinds', {});
      await call('gantry.session.create', { minutes: 5 });
      await call('gantry.session.end', {});
      await call('gantry.session.password', { password: PASSWORD });
      await call('gantry.openapi', {});
      await call('acme.part.find', { id: 7, depth: 1 });
      await call('acme.part.keep', { secret: 'four', content: ['a', 1] });
      await call('acme photo!', {});
    });

    it('was called in every operation', () => {
      // Those that need a cluster are called in one: admin-cluster.test.ts.
      const ofCluster = /^gantry\.(cluster\..*|server\.restart)$/;
      const all = operations()
        .map(({ operation }) => operation.operationId)
        .filter((id) => !ofCluster.test(id));
      expect(all.filter((id) => !called.has(id))).to.deep.equal([]);
    });

    it('fails as the document says', async () => {
      await call('acme.part.find', { id: 0 }, 404);
      await call('gantry.channel.get', { name: 'none' }, 404);
      await call('gantry.setting.create', { name: 'kept', value: 6 }, 409);
      await call('gantry.setting.update', { name: 'kept', version: 9, changes: { value: 6 } }, 409);
      await call('gantry.setting.create', { name: 'kept', valeu: 6 }, 400);
      await call('acme.part.keep', { secret: 'four', content: ['a', 'b'] }, 400);
      for (const { operation } of operations()) {
        if (operation.security.length > 0) {
          const path = { id: 7 };
          await call(operation.operationId, path, 401, basic('admin', 'a wrong password'));
        }
      }
    });
  });
});
