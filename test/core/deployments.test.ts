import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { defineService, type GantryError, type Problem, Type } from '../../core/api.ts';
import { moduleOf } from '../fixtures/module.ts';
import { BY, type OperatedOptions, operated } from '../fixtures/operated.ts';

type Server = Awaited<ReturnType<typeof operated>>;

describe('modules', function () {
  this.timeout(20_000);
  const servers: Server[] = [];

  async function start(options: OperatedOptions = {}): Promise<Server> {
    const server = await operated(options);
    servers.push(server);
    await server.kernel.start();
    return server;
  }
  const TYPED = { language: 'typescript' };
  const deploy = ({ records }: Server, name: string, source: string, more: object = TYPED) =>
    records.create('module', { name, source, ...more }, BY);
  const channel = (name: string, service: string) => ({ name, transport: 'topics', address: { topic: name }, service });
  const refusal = async (doing: Promise<unknown>): Promise<GantryError> => {
    const error = await doing.then(
      () => null,
      (thrown: GantryError) => thrown,
    );
    if (error === null) throw new Error('it was not refused');
    return error;
  };
  const told = (error: GantryError) => (error.problems ?? []).map(({ path, message }: Problem) => `${path} ${message}`);

  afterEach(async () => {
    for (const { kernel, data } of servers.splice(0).reverse()) {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
  });

  it('run as soon as they are saved, change between two calls, and come back after a restart', async () => {
    const server = await start();
    const saved = await deploy(server, 'shop', moduleOf('shop.price', 1));
    expect(saved).to.include({ version: 1, live: true });
    await server.records.create('channel', channel('price', 'shop.price'), BY);
    expect(await server.send('price')).to.equal(1);
    await server.records.update('module', 'shop', 1, { source: moduleOf('shop.price', 2) }, BY);
    expect(await server.send('price')).to.equal(2);
    await server.kernel.stop();
    const again = await start({ data: server.data });
    expect(await again.send('price')).to.equal(2);
    expect(again.records.status().refused).to.deep.equal([]);
  });

  it('end the calls in hand as they were', async () => {
    const server = await start();
    const slow = (says: number, ms: number) =>
      moduleOf('shop.slow').replace(
        `() => ("shop.slow")`,
        `async () => { await new Promise((done) => setTimeout(done, ${ms})); return ${says}; }`,
      );
    await deploy(server, 'shop', slow(1, 300));
    await server.records.create('channel', channel('slow', 'shop.slow'), BY);
    const first = server.send('slow');
    await server.records.update('module', 'shop', 1, { source: slow(2, 1) }, BY);
    expect(await server.send('slow')).to.equal(2);
    expect(await first).to.equal(1);
  });

  it('may hold several services, and lose one of them', async () => {
    const server = await start();
    const list = (...names: string[]) => `import { defineService, Type } from 'gantry/api';
      const one = (name: string) => defineService({ name, input: Type.Any(), output: Type.Any(), create: () => () => name });
      export default [${names.map((name) => `one('${name}')`).join()}];`;
    await deploy(server, 'shop', list('shop.a', 'shop.b'));
    for (const name of ['a', 'b']) await server.records.create('channel', channel(name, `shop.${name}`), BY);
    expect([await server.send('a'), await server.send('b')]).to.deep.equal(['shop.a', 'shop.b']);
    expect(server.records.find('module', 'shop')?.definition['services']).to.deep.equal(['shop.a', 'shop.b']);
    await server.records.update('module', 'shop', 1, { source: list('shop.a') }, BY);
    expect([await server.send('a'), await server.send('b')]).to.deep.equal(['shop.a', 'SERVICE_NOT_DEPLOYED']);
  });

  it('take the place of a service of a file, which comes back when they go', async () => {
    const server = await start();
    await server.records.create('channel', channel('echo', 'echo'), BY);
    const before = await server.send('echo', { body: '5' });
    await deploy(server, 'mine', moduleOf('echo', 'mine'));
    expect(await server.send('echo', { body: '5' })).to.equal('mine');
    await server.records.update('module', 'mine', 1, { active: false }, BY);
    expect(await server.send('echo', { body: '5' })).to.deep.equal(before);
    await server.records.update('module', 'mine', 2, { active: true }, BY);
    expect(await server.send('echo', { body: '5' })).to.equal('mine');
    await server.records.remove('module', 'mine', undefined, BY);
    expect(await server.send('echo', { body: '5' })).to.deep.equal(before);
  });

  describe('that are broken are refused, and what was there goes on:', () => {
    const create = (body: string) =>
      moduleOf('shop.price').replace('create: () => () => ("shop.price"),', `create: () => ${body},`);
    const cases: Record<string, [string, RegExp]> = {
      'not TypeScript': ['export default {', /shop\.ts:1:\d+ /],
      'no service': ['export default 5;', /no default export made with defineService/],
      'one that throws when it is loaded': ['throw new Error("on load");', /failed while it was loaded: on load/],
      'one whose create() throws': [create('{ throw new Error("in create"); }'), /in create/],
      'a package that is not there': ["import x from 'not-there-at-all'; export default x;", /not-there-at-all/],
      'another file': ["import x from './other.ts'; export default x;", /one file/],
      'a schema that is none': [
        moduleOf('shop.price').replace('input: Type.Any()', "input: { type: 'strnig' } as never"),
        /strnig|schema/,
      ],
      'a self-test that fails': [
        moduleOf('shop.price').replace(
          'create:',
          'selfTest: async (run) => { throw new Error(`got ${await run(1)}`); },\n  create:',
        ),
        /self-test of 'shop.price' failed: got shop\.price/,
      ],
      'a service of the server itself': [moduleOf('gantry.ping'), /'gantry.ping' belongs to the server itself/],
    };
    for (const [what, [source, expected]] of Object.entries(cases)) {
      it(what, async () => {
        const server = await start();
        await deploy(server, 'shop', moduleOf('shop.price', 'good'));
        await server.records.create('channel', channel('price', 'shop.price'), BY);
        const changed = await refusal(server.records.update('module', 'shop', 1, { source }, BY));
        expect(changed.code).to.equal('RECORD_INVALID');
        expect(told(changed).join())
          .to.match(/^\/source /)
          .and.match(expected);
        const created = await refusal(deploy(server, 'other', source));
        expect(created.code).to.equal('RECORD_INVALID');
        expect(await server.send('price')).to.equal('good');
        expect(server.kernel.cradle.services.names()).to.deep.equal(['echo', 'forward', 'shop.price']);
      });
    }

    it('a service that another module has', async () => {
      const server = await start();
      await deploy(server, 'one', moduleOf('shop.price', 1));
      const second = await refusal(deploy(server, 'two', moduleOf('shop.price', 2)));
      expect(told(second).join()).to.include("belongs to the module 'one'");
    });
  });

  it('of one service at the same time on two servers: one of them is refused', async () => {
    const one = await start();
    const other = await start({ data: one.data, name: 'server2' });
    const both = await Promise.allSettled([
      deploy(one, 'm1', moduleOf('shop.price', 1)),
      deploy(other, 'm2', moduleOf('shop.price', 2)),
    ]);
    const states = both.map(({ status }) => status).sort();
    expect(states).to.deep.equal(['fulfilled', 'rejected']);
    servers.splice(servers.indexOf(other), 1);
    await other.kernel.stop();
  });

  it('of which a server lacks a package: it tells so and goes on with the one before', async () => {
    const one = await start();
    await deploy(one, 'shop', moduleOf('shop.price', 1));
    await one.records.create('channel', channel('price', 'shop.price'), BY);
    const { kernel } = one;
    // Written past the checks, as by another server that has more installed.
    const { odb } = kernel.cradle;
    const source = "import x from 'only-elsewhere'; export default x;";
    const body = { language: 'typescript', source, services: ['shop.price'] };
    await odb.write([{ action: 'update', kind: 'module', name: 'shop', version: 1, body }], BY);
    const late = performance.now() + 10_000;
    while (one.records.status().refused.length === 0 && performance.now() < late)
      await new Promise((go) => setTimeout(go, 20));
    expect(one.records.status().refused).to.have.lengthOf(1);
    expect(one.records.status().refused[0]).to.include({ kind: 'module', name: 'shop' });
    expect(one.records.status().refused[0]?.problem).to.include('only-elsewhere');
    expect(await one.send('price')).to.equal(1);
  });

  it('cost no memory that stays over hundreds of versions', async function () {
    this.timeout(120_000);
    const { kernel } = await start();
    const { services } = kernel.cradle;
    expect(services.has('echo')).to.equal(true);
    const { Deployments } = await import('../../core/deployments.ts');
    const deployments = new Deployments({ services, checker: null, log: kernel.log, dir: process.cwd() });
    const rounds = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const definition = {
          name: 'shop',
          language: 'typescript',
          source: moduleOf('shop.price', `${i} ${'x'.repeat(10_000)}`),
        };
        await deployments.prepare(definition);
        await deployments.put(definition);
      }
      globalThis.gc?.();
      return process.memoryUsage().heapUsed;
    };
    const { setFlagsFromString } = await import('node:v8');
    setFlagsFromString('--expose-gc');
    const { runInNewContext } = await import('node:vm');
    globalThis.gc = runInNewContext('gc') as typeof globalThis.gc;
    const before = await rounds(50);
    const after = await rounds(250);
    // 10 kB each, were they kept, and their compiled code: what Node 24 keeps of a script is about 16 kB.
    expect(after - before).to.be.lessThan(250 * 24_000);
  });
});

describe('dictionaries', () => {
  it('translate between systems, as their records say by now', async () => {
    const { kernel, data, records, send } = await operated();
    try {
      kernel.deploy([
        defineService({
          name: 'translate',
          input: Type.Array(Type.String()),
          output: Type.Any(),
          create:
            ({ dictionaries }) =>
            ([table = '', from = '', text = '', to = '']) => [
              dictionaries?.translate(table, from, text, to),
              dictionaries?.find(table, text),
              dictionaries?.names(),
            ],
        }),
      ]);
      await kernel.start();
      await records.create(
        'channel',
        { name: 't', transport: 'topics', address: { topic: 't' }, service: 'translate' },
        BY,
      );
      const ask = (...words: string[]) => send('t', { body: JSON.stringify(words) });
      const rows = [
        { crm: 'PL', erp: '616' },
        { crm: 'AT', erp: '040', web: 'toString' },
        { crm: 'PL', erp: 'late' },
      ];
      await records.create('dictionary', { name: 'country', rows, entries: { AT: 'Austria' } }, BY);
      expect(await ask('country', 'crm', 'PL', 'erp')).to.deep.equal(['616', null, ['country']]);
      expect(await ask('country', 'erp', '040', 'crm')).to.deep.equal(['AT', null, ['country']]);
      expect(await ask('country', 'crm', 'AT', 'web')).to.deep.equal(['toString', 'Austria', ['country']]);
      expect(await ask('country', 'crm', 'AT', 'toString')).to.deep.equal([null, 'Austria', ['country']]);
      expect(await ask('country', 'crm', 'XX', 'erp')).to.deep.equal([null, null, ['country']]);
      expect(await ask('nowhere', 'crm', 'PL', 'erp')).to.deep.equal([null, null, ['country']]);
      await records.update('dictionary', 'country', 1, { rows: [{ crm: 'PL', erp: 'new' }] }, BY);
      expect(await ask('country', 'crm', 'PL', 'erp')).to.deep.equal(['new', null, ['country']]);
    } finally {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
  });
});
