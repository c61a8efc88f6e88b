import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { defineService, type GantryError, type Problem, Type } from '../../../core/api.ts';
import { loader } from '../../../core/doors.ts';
import { moduleOf } from '../../fixtures/module.ts';
import { BY, type OperatedOptions, operated } from '../../fixtures/operated.ts';

type Server = Awaited<ReturnType<typeof operated>>;

/** The source of a module whose services answer with their names. */
const list = (...names: string[]) => `import { defineService, Type } from 'gantry/api';
  const one = (name: string) => defineService({ name, input: Type.Any(), output: Type.Any(), create: () => () => name });
  export default [${names.map((name) => `one('${name}')`).join()}];`;

async function until(what: string, holds: () => boolean): Promise<void> {
  const late = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > late) throw new Error(`never: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

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
      'a role of the admin API that there is not': [
        moduleOf('shop.price').replace('create:', "attributes: { admin: { role: 'owner' } },\n  create:"),
        /'shop\.price' has no valid attributes\.admin\.role/,
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
    await until('it is refused', () => one.records.status().refused.length > 0);
    expect(one.records.status().refused).to.have.lengthOf(1);
    expect(one.records.status().refused[0]).to.include({ kind: 'module', name: 'shop' });
    expect(one.records.status().refused[0]?.problem).to.include('only-elsewhere');
    expect(await one.send('price')).to.equal(1);
  });

  it('that lacked a package are deployed once it is there, and told of once', async () => {
    const first = await start();
    const folder = (home: string) => path.join(first.data, home, 'node_modules');
    const install = (home: string) => {
      mkdirSync(path.join(folder(home), 'late-package/lib'), { recursive: true });
      writeFileSync(path.join(folder(home), 'late-package/lib/own.js'), 'exports.says = 7;');
      // Node 20 would not see it, had it looked for it before.
      writeFileSync(path.join(folder(home), 'late-package/package.json'), '{ "exports": "./lib/own.js" }');
    };
    install('has');
    mkdirSync(folder('lacks'), { recursive: true });
    const dialect = ['dialect.sqlite', { file: path.join(first.data, 'gantry.sqlite') }] as const;
    const has = await start({ name: 'has', dir: path.join(first.data, 'has'), dialect });
    const tries = globalThis as { triesOfTest?: number };
    tries.triesOfTest = 0;
    const body = moduleOf('shop.price', 1).replace('(1)', '(says)');
    const source = `globalThis.triesOfTest++;\nconst { says } = require('late-package');\n${body}`;
    await deploy(has, 'shop', source, { language: 'javascript' });
    await has.records.create('channel', channel('price', 'shop.price'), BY);
    const lacks = await start({ name: 'lacks', dir: path.join(first.data, 'lacks'), dialect, pollMs: 10 });
    const refused = () => lacks.records.status().refused.map(({ name }) => name);
    const lines = () => lacks.lines.filter(({ msg }) => String(msg).includes('could not be put into effect')).length;
    expect(refused()).to.deep.equal(['shop']);
    await until('it is tried some times', () => {
      expect(refused()).to.deep.equal(['shop']);
      return (tries.triesOfTest ?? 0) >= 5;
    });
    expect([await lacks.send('price'), lines()]).to.deep.equal(['SERVICE_NOT_DEPLOYED', 1]);
    install('lacks');
    await until('it is deployed', () => refused().length === 0);
    expect([await has.send('price'), await lacks.send('price'), lines()]).to.deep.equal([7, 7, 1]);
    delete tries.triesOfTest;
  });

  it('cost no memory that stays over hundreds of versions', async function () {
    this.timeout(120_000);
    const { kernel } = await start();
    const { services } = kernel.cradle;
    expect(services.has('echo')).to.equal(true);
    const { Deployments } = await import('../../../core/modules/deployments.ts');
    const deployments = new Deployments({ services, checker: null, log: kernel.log, dir: process.cwd(), loader });
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
      // What compiled code holds goes in several rounds.
      for (let i = 0; i < 6; i++) {
        globalThis.gc?.();
        await new Promise((go) => setTimeout(go, 20));
      }
      return process.memoryUsage().heapUsed;
    };
    const { setFlagsFromString } = await import('node:v8');
    setFlagsFromString('--expose-gc');
    const { runInNewContext } = await import('node:vm');
    globalThis.gc = runInNewContext('gc') as typeof globalThis.gc;
    const before = await rounds(50);
    const after = await rounds(250);
    // 10 kB each, were they kept, and their compiled code.
    expect(after - before).to.be.lessThan(250 * 4000);
    for (let i = 0; i < 250; i++) {
      const source = moduleOf('shop.other', `${i} ${'x'.repeat(100_000)}`);
      await deployments.prepare({ name: `checked${i}`, language: 'javascript', source });
    }
    // Checked, and never deployed, e.g. since another server was quicker.
    expect((await rounds(1)) - after).to.be.lessThan(250 * 4000);
  });
});

describe('modules, on a server that takes several changes at once', function () {
  this.timeout(20_000);
  const servers: Server[] = [];
  let first: Server;
  let second: Server;

  /** Two servers on one file; the second looks for changes only when it makes one. */
  beforeEach(async () => {
    first = await operated();
    servers.push(first);
    await first.kernel.start();
    const file = path.join(first.data, 'gantry.sqlite');
    second = await operated({ name: 'late', pollMs: 600_000, dialect: ['dialect.sqlite', { file }] });
    servers.push(second);
    await second.kernel.start();
  });
  afterEach(async () => {
    for (const { kernel, data } of servers.splice(0).reverse()) {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
  });
  const put = (name: string, source: string) =>
    first.records.create('module', { name, source, language: 'typescript' }, BY);
  const change = (name: string, version: number, ...services: string[]) =>
    first.records.update('module', name, version, { source: list(...services) }, BY);
  const topic = (name: string, service: string) =>
    first.records.create('channel', { name, transport: 'topics', address: { topic: name }, service }, BY);
  let looks = 0;
  /** The second takes over all that there is, and the first what that made. */
  const catchUp = async () => {
    const saved = await second.records.create('setting', { name: `look${++looks}`, value: 1 }, BY);
    for (const { records } of [first, second]) await until('both', () => records.status().revision >= saved.revision);
    expect(second.records.status().refused).to.deep.equal([]);
  };
  const answers = async (...topics: string[]) => {
    const all = await Promise.all(topics.map(async (one) => [await first.send(one), await second.send(one)]));
    for (const [one, other] of all) expect(other).to.deep.equal(one);
    return all.map(([one]) => one);
  };

  it('move from one module to the other, whatever their names are', async () => {
    await put('a', list('shop.c'));
    await put('z', list('shop.a', 'shop.b'));
    for (const name of ['a', 'b', 'c']) await topic(name, `shop.${name}`);
    await catchUp();
    // z gives shop.b away, and the module a, which comes before it, takes it: valid one after the other.
    await change('z', 1, 'shop.a');
    expect((await change('a', 1, 'shop.b', 'shop.c')).live).to.equal(true);
    await catchUp();
    expect(await answers('a', 'b', 'c')).to.deep.equal(['shop.a', 'shop.b', 'shop.c']);
    // What z does from now on is nothing to shop.b.
    await change('z', 2, 'shop.d');
    await catchUp();
    expect(await answers('a', 'b', 'c')).to.deep.equal(['SERVICE_NOT_DEPLOYED', 'shop.b', 'shop.c']);
    await first.records.remove('module', 'z', undefined, BY);
    await catchUp();
    expect(await answers('b', 'c')).to.deep.equal(['shop.b', 'shop.c']);
    await first.records.remove('module', 'a', undefined, BY);
    await catchUp();
    expect(await answers('b', 'c')).to.deep.equal(['SERVICE_NOT_DEPLOYED', 'SERVICE_NOT_DEPLOYED']);
  });

  it('change places', async () => {
    await put('one', list('shop.a'));
    await put('two', list('shop.b'));
    for (const name of ['a', 'b']) await topic(name, `shop.${name}`);
    await catchUp();
    await change('one', 1, 'shop.x');
    await change('two', 1, 'shop.a');
    await change('one', 2, 'shop.b');
    await catchUp();
    expect(await answers('a', 'b')).to.deep.equal(['shop.a', 'shop.b']);
    await first.records.remove('module', 'one', undefined, BY);
    await catchUp();
    expect(await answers('a', 'b')).to.deep.equal(['shop.a', 'SERVICE_NOT_DEPLOYED']);
  });

  it('take over the services of one that was removed, and what a file had comes back in the end', async () => {
    await topic('echo', 'echo');
    await catchUp();
    const [before] = await answers('echo');
    await put('old', moduleOf('echo', 1));
    await catchUp();
    expect(await answers('echo')).to.deep.equal([1]);
    await first.records.remove('module', 'old', undefined, BY);
    expect((await put('new', moduleOf('echo', 2))).live).to.equal(true);
    await catchUp();
    expect(await answers('echo')).to.deep.equal([2]);
    await first.records.remove('module', 'new', undefined, BY);
    await catchUp();
    expect(await answers('echo')).to.deep.equal([before]);
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
