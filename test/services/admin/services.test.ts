/** What is deployed and open on a server: looking at it, and trying it out. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Bytes, Call, defineService, GantryError, type Service, Type } from '../../../core/api.ts';
import { type AdminServer, adminServer, basic, PASSWORD } from './server.ts';

const seen: { identity: string; cid: string; verb: string }[] = [];
const any = (name: string, create: Service['create'], more: Partial<Service> = {}): Service =>
  defineService({ name, input: Type.Unknown(), output: Type.Unknown(), create, ...more } as never);

const SERVICES: readonly Service[] = [
  defineService({
    name: 'acme.stock.take',
    description: 'Takes from the stock',
    attributes: { owner: 'stock' },
    input: Type.Object({ sku: Type.String(), count: Type.Integer({ minimum: 1, default: 1 }) }),
    output: Type.Object({ left: Type.Integer() }),
    errors: {
      OUT_OF_STOCK: { kind: 'conflict', description: 'There is not so much' },
      AWAY: { kind: 'unavailable' },
    },
    timeoutMs: 5000,
    create:
      ({ errors }) =>
      ({ sku, count }) => {
        if (sku === 'none') throw errors.OUT_OF_STOCK('There is none');
        if (sku === 'away') throw errors.AWAY('The store is closed');
        if (sku === 'broken') throw new Error('an internal text');
        return { left: 10 - count };
      },
  }),
  any('acme.who', () => (_input, call) => {
    seen.push({ identity: call.identity?.name ?? '', cid: call.cid, verb: call.verb ?? '' });
    return { name: call.identity?.name };
  }),
  any('acme.verbs', () => ({ get: () => 'got', delete: () => 'gone' })),
  any('acme.slow', () => () => new Promise(() => {})),
  any('acme.nothing', () => () => undefined),
  any('acme.bytes', () => () => new Uint8Array([1]), { output: Bytes }),
  any('acme.wrong.outside', () => async (_input, call) => call.invoke('acme.stock.take', { sku: 5 })),
  any('acme.wrong.name', () => async (_input, call) => call.invoke('acme.stock.tak', {})),
  any('acme.invalid', () => () => {
    const problems = [{ path: '/deep/below', message: 'is odd' }];
    throw new GantryError('INVALID', 'Odd', { problems });
  }),
];

describe('services/admin: services, connections and the server', () => {
  let server: AdminServer;

  before(async () => {
    server = await adminServer({ services: SERVICES });
  });
  after(() => server.stop());

  const invoke = (name: string, input?: unknown, more: object = {}) =>
    server.ask('gantry.service.invoke', { name, ...(input === undefined ? {} : { input }), ...more });
  const told = ({ status, body }: Awaited<ReturnType<typeof invoke>>) => [status, body.code];

  describe('service.invoke', () => {
    it('runs a service as the caller, and gives its output', async () => {
      const { status, body } = await invoke('acme.stock.take', { sku: 'tea', count: 3 });
      expect([status, body.output]).to.deep.equal([200, { left: 7 }]);
      expect(body.ms).to.be.within(0, 5000);
      expect((await invoke('acme.stock.take', { sku: 'tea' })).body.output).to.deep.equal({ left: 9 });
      await server.good('gantry.user.create', { name: 'dev', role: 'developer', password: PASSWORD });
      const answer = await server.ask('gantry.service.invoke', { name: 'acme.who' }, basic('dev'), {
        'x-correlation-id': 'mine',
      });
      expect(answer.body.output).to.deep.equal({ name: 'dev' });
      expect(seen.at(-1)).to.include({ identity: 'dev', cid: 'mine' });
    });

    it('tells what is wrong with the input, and where', async () => {
      for (const [input, path] of [
        [{}, '/input/sku'],
        [{ sku: 5 }, '/input/sku'],
        [{ sku: 'tea', count: 0 }, '/input/count'],
        ['text', '/input'],
      ] as const) {
        const wrong = await invoke('acme.stock.take', input);
        expect(told(wrong)).to.deep.equal([400, 'INPUT_INVALID']);
        expect(wrong.body.errors[0].path).to.equal(path);
      }
    });

    it('says that there is no such service, with the nearest name', async () => {
      const missing = await invoke('acme.stock.tkae', {});
      expect(told(missing)).to.deep.equal([404, 'SERVICE_NOT_FOUND']);
      expect(missing.body.detail).to.include("Did you mean 'acme.stock.take'?");
    });

    it('fails as the service fails: by its own errors, their kinds, and without what is inside', async () => {
      expect(told(await invoke('acme.stock.take', { sku: 'none' }))).to.deep.equal([409, 'OUT_OF_STOCK']);
      expect(told(await invoke('acme.stock.take', { sku: 'away' }))).to.deep.equal([503, 'AWAY']);
      const broken = await invoke('acme.stock.take', { sku: 'broken' });
      expect(told(broken)).to.deep.equal([500, 'SERVICE_FAILED']);
      expect(JSON.stringify(broken.body)).to.not.include('internal');
      const odd = await invoke('acme.invalid', {});
      expect(told(odd)).to.deep.equal([400, 'INVALID']);
    });

    it('calls a bug of the service a bug, and no fault of the caller', async () => {
      expect(told(await invoke('acme.wrong.outside', {}))).to.deep.equal([500, 'INVOCATION_INVALID']);
      expect(told(await invoke('acme.wrong.name', {}))).to.deep.equal([500, 'INVOCATION_INVALID']);
    });

    it('runs the handler of the verb', async () => {
      expect((await invoke('acme.verbs', {}, { verb: 'get' })).body.output).to.equal('got');
      expect((await invoke('acme.verbs', {}, { verb: 'DELETE' })).body.output).to.equal('gone');
      const other = await invoke('acme.verbs', {}, { verb: 'patch' });
      expect(told(other)).to.deep.equal([400, 'INVALID']);
      expect(other.body.detail).to.include('get, delete');
    });

    it('gives up after the time that it is told', async () => {
      const late = await invoke('acme.slow', {}, { timeoutMs: 50 });
      expect(told(late)).to.deep.equal([504, 'CALL_TIMEOUT']);
    });

    it('gives what JSON can hold', async () => {
      expect((await invoke('acme.nothing')).body).to.have.all.keys('ms');
      expect(told(await invoke('acme.bytes'))).to.deep.equal([400, 'INVALID']);
    });
  });

  describe('service.list and service.get', () => {
    it('page through what is deployed', async () => {
      const { items, total, next } = await server.good('gantry.service.list', { search: 'ACME.', limit: 4 });
      expect([items.length, total]).to.deep.equal([4, SERVICES.length]);
      const rest = await server.good('gantry.service.list', { search: 'acme.', after: next });
      const names = [...items, ...rest.items].map(({ name }: { name: string }) => name);
      expect([names, rest.next]).to.deep.equal([SERVICES.map(({ name }) => name).sort(), null]);
    });

    it('give a service with its schemas and errors', async () => {
      const about = await server.good('gantry.service.get', { name: 'acme.stock.take' });
      expect(about).to.deep.include({
        name: 'acme.stock.take',
        description: 'Takes from the stock',
        attributes: { owner: 'stock' },
        timeoutMs: 5000,
        errors: {
          OUT_OF_STOCK: { kind: 'conflict', description: 'There is not so much' },
          AWAY: { kind: 'unavailable' },
        },
      });
      expect(about.input.properties.count).to.deep.include({ type: 'integer', minimum: 1 });
      const missing = await server.ask('gantry.service.get', { name: 'acme.stock.tkae' });
      expect(missing.status).to.equal(404);
      expect(missing.body.detail).to.include("Did you mean 'acme.stock.take'?");
    });

    it('can show every service that there is', async () => {
      for (const name of server.kernel.cradle.services.names()) {
        const { name: shown } = await server.good('gantry.service.get', { name });
        expect(shown).to.equal(name);
      }
    });
  });

  describe('connections', () => {
    let peer: Server;

    const listen = async (port = 0) => {
      peer = createServer((_req, res) => res.end()).listen(port, '127.0.0.1');
      await once(peer, 'listening');
      return (peer.address() as AddressInfo).port;
    };
    const close = async () => {
      peer.closeAllConnections();
      peer.close();
      await once(peer, 'close');
    };

    it('are asked whether the other side is there: up, down, and up again', async () => {
      const port = await listen();
      const options = { url: `http://127.0.0.1:${port}`, retry: { attempts: 1 } };
      await server.good('gantry.connection.create', { name: 'peer', transport: 'rest', options });
      const up = await server.good('gantry.connection.ping', { name: 'peer' });
      expect(up).to.have.all.keys('ok', 'ms').and.to.include({ ok: true });
      await close();
      const down = await server.good('gantry.connection.ping', { name: 'peer' });
      expect(down.ok).to.equal(false);
      expect(down.problem).to.include({ code: 'OUTGOING_UNAVAILABLE' });
      expect(down.problem.message).to.be.a('string').that.is.not.empty;
      await listen(port);
      expect(await server.good('gantry.connection.ping', { name: 'peer' })).to.include({ ok: true });
      await close();
      await server.good('gantry.connection.remove', { name: 'peer' });
    });

    it('are listed with their state, while they are active', async () => {
      const port = await listen();
      const definition = { name: 'peer', transport: 'rest', options: { url: `http://127.0.0.1:${port}` } };
      await server.good('gantry.connection.create', definition);
      expect((await server.good('gantry.connection.states')).items).to.deep.equal([
        { name: 'peer', transport: 'rest', up: true },
      ]);
      await server.good('gantry.connection.toggle', { name: 'peer', version: 1, active: false });
      expect((await server.good('gantry.connection.states')).items).to.deep.equal([]);
      const inactive = await server.ask('gantry.connection.ping', { name: 'peer' });
      expect(inactive.status).to.equal(404);
      await server.good('gantry.connection.toggle', { name: 'peer', version: 2, active: true });
      const missing = await server.ask('gantry.connection.ping', { name: 'pear' });
      expect([missing.status, missing.body.code]).to.deep.equal([404, 'NOT_FOUND']);
      expect(missing.body.detail).to.include("Did you mean 'peer'?");
      await close();
      await server.good('gantry.connection.remove', { name: 'peer' });
    });
  });

  describe('toggle', () => {
    it('switches a channel off and on again, by an operator, from its latest version', async () => {
      await server.good('gantry.user.create', { name: 'operator', role: 'operator', password: PASSWORD });
      const address = { method: 'POST', path: '/toggled' };
      await server.good('gantry.channel.create', { name: 'toggled', transport: 'rest', address, service: 'acme.who' });
      const status = async () => (await fetch(`${server.url}/toggled`, { method: 'POST' })).status;
      const toggle = (version: number, active: boolean) =>
        server.ask('gantry.channel.toggle', { name: 'toggled', version, active }, basic('operator'));
      expect(await status()).to.equal(200);
      expect((await toggle(1, false)).status).to.equal(200);
      expect(await status()).to.equal(404);
      expect((await toggle(1, true)).status).to.equal(409);
      expect((await toggle(2, true)).status).to.equal(200);
      expect(await status()).to.equal(200);
      const more = { name: 'toggled', version: 3, active: true, service: 'demo.hello' };
      await server.ask('gantry.channel.toggle', more, basic('operator'));
      const { definition } = await server.good('gantry.channel.get', { name: 'toggled' });
      expect(definition.service).to.equal('acme.who');
      await server.good('gantry.channel.remove', { name: 'toggled' });
    });
  });

  describe('the server', () => {
    it('tells what it is and runs with', async () => {
      const info = await server.good('gantry.server.info');
      expect(info).to.include({
        name: 'server1',
        version: '1.2.3',
        state: 'ready',
        pid: process.pid,
        node: process.version,
      });
      expect(info.services).to.equal(server.kernel.cradle.services.names().length);
      expect(info.uptimeMs).to.be.within(1, 600_000);
      expect(info.records).to.include({ source: 'database', staleSince: null, problem: null });
      expect(info.records.counts).to.include({ server: 1 });
      expect(info.records.revision).to.equal((await server.good('gantry.audit.list', { limit: 1 })).items[0].revision);
    });

    it('is well, and says so', async () => {
      const { healthy, checks } = await server.good('gantry.server.health');
      expect(healthy).to.equal(true);
      expect(checks.map(({ name }: { name: string }) => name)).to.include.members(['server', 'database', 'records']);
    });

    it('is on record, with where it listens', async () => {
      const { definition, changedBy } = await server.good('gantry.server.get', { name: 'server1' });
      expect([definition.urls, definition.version, changedBy]).to.deep.equal([[server.url], '1.2.3', 'server1']);
    });

    it('keeps no records where no ODB plugin is loaded, and says so', async () => {
      const without = { 'odb.sequelize': null, 'dialect.sqlite': null, 'feature.admin': null, 'guard.users': null };
      const bare = await adminServer({ config: without });
      try {
        const asked = [
          'gantry.channel.list',
          'gantry.audit.list',
          'gantry.configuration.export',
          'gantry.session.create',
        ];
        for (const service of asked) {
          const call = new Call('test', {});
          const refused = await bare.kernel.cradle.services
            .invoke(service, {}, call, {})
            .catch((error: GantryError) => error);
          expect(refused, service).to.include({ code: 'UNAVAILABLE' });
        }
        const info = await bare.kernel.cradle.services.invoke('gantry.server.info', {}, new Call('test', {}), {});
        expect(info).to.include({ records: null });
      } finally {
        await bare.stop();
      }
    });
  });
});
