/** The admin API about modules: on one server, and on several that share a store. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { Call, Secret } from '../../../core/api.ts';
import { loader } from '../../../core/doors.ts';
import { moduleOf } from '../../fixtures/module.ts';
import { BY, type OperatedOptions, operated } from '../../fixtures/operated.ts';
import { sharedKv } from '../../fixtures/shared-kv.ts';
import { type AdminServer, adminServer } from './server.ts';

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const late = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > late) throw new Error(`never: ${what}`);
    await wait(10);
  }
}

describe('services/admin: module', function () {
  this.timeout(30_000);
  let server: AdminServer;
  before(async () => {
    server = await adminServer();
  });
  after(() => server?.stop());

  const upload = (file: string, source: string) => server.good('gantry.module.upload', { file, source });
  const states = async (name: string) => (await server.good('gantry.module.status', { name })).modules[0].servers;

  it('deploys a file, tells what it holds, and does nothing where it is so already', async () => {
    const first = await upload('price.ts', moduleOf('shop.price', 1));
    expect(first).to.include({ name: 'price', version: 1, changed: true, live: true });
    expect(first.services).to.deep.equal(['shop.price']);
    const again = await upload('price.ts', moduleOf('shop.price', 1));
    expect(again).to.include({ version: 1, changed: false, live: true, revision: first.revision });
    expect(await states('price')).to.deep.equal([{ name: 'server1', state: 'live' }]);
  });

  it('is off where it is not active, and a rollback makes it active, whatever its version was', async () => {
    await upload('off.ts', moduleOf('shop.off', 1));
    await server.good('gantry.module.update', { name: 'off', version: 1, changes: { active: false } });
    expect(await states('off')).to.deep.equal([{ name: 'server1', state: 'off' }]);
    const says = () => server.ask('gantry.service.invoke', { name: 'shop.off', input: 1 });
    expect((await says()).status).to.equal(404);
    // The second version is the inactive one.
    expect(await server.good('gantry.module.rollback', { name: 'off', version: 2 })).to.include({
      ...{ version: 3, changed: true, live: true },
    });
    expect((await says()).body.output).to.equal(1);
    await server.good('gantry.module.remove', { name: 'off' });
    const back = await server.good('gantry.module.rollback', { name: 'off', version: 2 });
    expect(back).to.include({ changed: true, live: true });
    expect(await states('off')).to.deep.equal([{ name: 'server1', state: 'live' }]);
  });

  it('gives the address of a service that is gone to the next one', async () => {
    const exposed = (service: string) =>
      moduleOf(service).replace('create:', "attributes: { admin: { role: 'viewer', path: 'orders' } },\n  create:");
    const orders = async () => {
      const { status, body } = await server.ask('orders');
      return status === 200 ? body : status;
    };
    await upload('orders.ts', exposed('shop.orders'));
    expect(await orders()).to.equal('shop.orders');
    // The new one is there before the old one goes.
    await upload('orders.ts', exposed('shop.orders2'));
    expect(await orders()).to.equal('shop.orders2');
    await server.good('gantry.module.remove', { name: 'orders' });
    expect(await orders()).to.equal(404);
    await upload('others.ts', exposed('shop.others'));
    expect(await orders()).to.equal('shop.others');
    // Whoever waits for it gets it, and who does not wait any more does not.
    await upload('waiting.ts', exposed('shop.waiting'));
    await upload('patient.ts', exposed('shop.patient'));
    await server.good('gantry.module.remove', { name: 'waiting' });
    expect(await orders()).to.equal('shop.others');
    await upload('others.ts', moduleOf('shop.others'));
    expect(await orders()).to.equal('shop.patient');
  });

  it('refuses a role that there is not, and tells those that there are', async () => {
    const source = moduleOf('shop.x').replace('create:', "attributes: { admin: { role: 'owner' } },\n  create:");
    const { status, body } = await server.ask('gantry.module.upload', { file: 'x.ts', source });
    expect([status, body.code]).to.deep.equal([400, 'RECORD_INVALID']);
    expect(body.errors[0]).to.include({ path: '/source', got: 'owner' });
    expect(body.errors[0].expected).to.equal('one of public, viewer, operator, developer, administrator');
  });
});

describe('services/admin: module, on several servers', function () {
  this.timeout(60_000);
  type Operated = Awaited<ReturnType<typeof operated>>;
  interface Server extends Operated {
    // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of it
    good(verb: string, input: object): Promise<any>;
    states(module: string): Promise<unknown>;
  }
  const CLUSTER = {
    ...{ token: new Secret('the token of the cluster'), announce: true, supervised: false },
    ...{ beatMs: 50, leaseMs: 5000, lingerMs: 0 },
  };
  let store: ReturnType<typeof sharedKv>;
  let servers: Server[] = [];
  let one: Server;

  async function start(name: string, options: OperatedOptions = {}): Promise<Server> {
    const made = await operated({
      name,
      cluster: { ...CLUSTER, address: `${name}:1` },
      more: [{ id: 'kv.memory', plugin: store.plugin, config: {} }],
      ...options,
    });
    const { kernel } = made;
    // Tools of administrators, without their addresses.
    kernel.deployFiles(await loader.services([path.resolve(import.meta.dirname, '../../../services/admin/module.ts')]));
    const good: Server['good'] = async (verb, input) => {
      const call = new Call('test', {});
      call.identity = { name: 'tester', roles: ['administrator'] };
      return kernel.cradle.services.invoke(`gantry.module.${verb}`, input, call, {});
    };
    const states = async (module: string) => (await good('status', { name: module })).modules[0].servers;
    await kernel.start();
    const server = { ...made, good, states };
    servers.push(server);
    return server;
  }
  /** Another one on the same file; alone it looks for changes every ten minutes. */
  const join = (name: string, options: OperatedOptions = {}) =>
    start(name, { dialect: ['dialect.sqlite', { file: path.join(one.data, 'gantry.sqlite') }], ...options });
  const LATE = { pollMs: 600_000 };
  const upload = (server: Server, file: string, source: string) => server.good('upload', { file, source });
  /** A package that only those have whose folder it is. */
  const home = (name: string, has: boolean) => {
    const dir = path.join(one.data, `home-${name}`);
    const own = path.join(dir, 'node_modules', has ? 'a-package' : 'another-one');
    mkdirSync(own, { recursive: true });
    writeFileSync(path.join(own, 'index.js'), '');
    return dir;
  };
  const NEEDY = `import 'a-package';\n`;

  beforeEach(async () => {
    store = sharedKv();
    await store.start();
    one = await start('one');
  });
  afterEach(async () => {
    store.state.away = false;
    for (const { kernel } of [...servers].reverse()) await kernel.stop();
    for (const { data } of servers) rmSync(data, { recursive: true, force: true });
    servers = [];
    await store.stop();
  });

  it('tells which of them runs it, has not taken it over yet, or runs without it', async () => {
    await join('two', LATE);
    const first = await upload(one, 'shop.ts', moduleOf('shop.price', 1));
    expect(first).to.deep.include({ changed: true, live: true, reached: ['one'] });
    expect(first.late.map(({ name }: { name: string }) => name)).to.deep.equal(['two']);
    const there = [{ name: 'one', state: 'live' }];
    expect(await one.states('shop')).to.deep.equal([...there, { name: 'two', state: 'late' }]);
    await one.records.update('module', 'shop', 1, { active: false }, BY);
    expect(await one.states('shop')).to.deep.equal([
      { name: 'one', state: 'off' },
      { name: 'two', state: 'late' },
    ]);
  });

  it('does not say of an unchanged one that it runs where it was not taken over yet', async () => {
    const late = await join('two', LATE);
    await upload(one, 'shop.ts', moduleOf('shop.price', 1));
    const told = await upload(late, 'shop.ts', moduleOf('shop.price', 1));
    expect(told).to.deep.include({ version: 1, changed: false, live: false, reached: ['one'] });
    expect(told.problem).to.include('not taken it over yet');
    // A change of its own makes it follow all of them.
    await late.records.create('setting', { name: 's', value: 1 }, BY);
    await until('all follow', async () => (await upload(late, 'shop.ts', moduleOf('shop.price', 1))).live === true);
  });

  it('does not say of a server that refuses more than it announces that it runs one', async () => {
    const two = await join('two', { dir: home('two', true) });
    const three = await join('three', { dir: home('three', false) });
    const names = Array.from({ length: 52 }, (_, i) => `m${String(i).padStart(2, '0')}`);
    const records = names.map((name) => {
      const definition = { name, language: 'typescript', source: NEEDY + moduleOf(`shop.${name}`) };
      return { kind: 'module', definition };
    });
    await two.records.apply(records, BY);
    await until('three tells', async () => {
      const [member] = (await two.kernel.cradle.cluster.members()).filter(({ name }) => name === 'three');
      return member?.refusedMore === 2 && member.revision === two.records.status().revision;
    });
    const { modules } = await two.good('status', {});
    const of = (server: string): string[] =>
      modules.map(
        ({ servers: all }: { servers: { name: string; state: string }[] }) =>
          all.find(({ name }) => name === server)?.state,
      );
    expect(of('two')).to.deep.equal(names.map(() => 'live'));
    expect(of('three').filter((state) => state === 'refused')).to.have.lengthOf(50);
    expect(of('three').filter((state) => state === 'unknown')).to.have.lengthOf(2);
    // It knows of itself what it does not announce.
    const own = await three.good('status', { name: 'm51' });
    expect(own.modules[0].servers.find(({ name }: { name: string }) => name === 'three').state).to.equal('refused');
    const again = await upload(two, 'm51.ts', NEEDY + moduleOf('shop.m51'));
    expect(again).to.deep.include({ changed: false, live: true, reached: ['two'] });
  });

  it('tells of itself alone where the others cannot be asked, and says so', async () => {
    await upload(one, 'shop.ts', moduleOf('shop.price', 1));
    expect(await one.good('status', { name: 'shop' })).not.to.have.property('unasked');
    store.state.away = true;
    const told = await one.good('status', { name: 'shop' });
    expect(told.modules[0].servers).to.deep.equal([{ name: 'one', state: 'live' }]);
    expect(told.unasked).to.include('cut off');
    const changed = await upload(one, 'shop.ts', moduleOf('shop.price', 2));
    expect(changed).to.deep.include({ changed: true, live: true, reached: [], late: [] });
    expect(changed.unasked).to.include('cut off');
  });

  it('does not count a process that is given no calls among those that run it', async () => {
    await upload(one, 'shop.ts', moduleOf('shop.price', 1));
    const agent = await join('agent', { cluster: { ...CLUSTER, announce: false }, follows: [] });
    expect(await agent.states('shop')).to.deep.equal([{ name: 'one', state: 'live' }]);
    store.state.away = true;
    expect(await agent.states('shop')).to.deep.equal([]);
  });

  it('is made inactive by a process that runs no modules, which does not load it for that', async () => {
    const loads = globalThis as { loadsOfTest?: number };
    loads.loadsOfTest = 0;
    await upload(one, 'shop.js', `globalThis.loadsOfTest++;\n${moduleOf('shop.price', 1)}`);
    expect(one.kernel.cradle.services.has('shop.price')).to.equal(true);
    const before = loads.loadsOfTest;
    const agent = await join('agent', { cluster: { ...CLUSTER, announce: false }, follows: ['setting'] });
    await agent.records.update('module', 'shop', 1, { active: false }, BY);
    await until('it is taken away', () => !one.kernel.cradle.services.has('shop.price'));
    expect([loads.loadsOfTest, agent.kernel.cradle.services.has('shop.price')]).to.deep.equal([before, false]);
    delete loads.loadsOfTest;
  });
});
