import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { Secret } from '../../../core/api.ts';
import { Announcements } from '../../../core/cluster/announcements.ts';
import type { ClusterConfig } from '../../../core/cluster/cluster.ts';
import { type OperatedOptions, operated } from '../../fixtures/operated.ts';
import { sharedKv } from '../../fixtures/shared-kv.ts';

const TOKEN = 'the token of the cluster';

type Server = Awaited<ReturnType<typeof operated>>;

describe('membership', function () {
  this.timeout(20_000);
  let store: ReturnType<typeof sharedKv>;
  let servers: Server[] = [];

  const cluster = (more: object = {}): ClusterConfig => ({
    token: new Secret(TOKEN),
    announce: true,
    beatMs: 100,
    leaseMs: 600,
    lingerMs: 0,
    supervised: false,
    ...more,
  });
  async function create(name: string, config: object = {}, options: OperatedOptions = {}): Promise<Server> {
    const kv = { id: 'kv.memory', plugin: store.plugin, config: {} };
    const server = await operated({
      name,
      cluster: cluster({ address: `${name}:1`, ...config }),
      more: [kv],
      ...options,
    });
    servers.push(server);
    return server;
  }
  async function start(name: string, config: object = {}, options: OperatedOptions = {}): Promise<Server> {
    const server = await create(name, config, options);
    await server.kernel.start();
    return server;
  }
  const said = new Announcements(new Secret(TOKEN));
  const keyOf = (name: string) => said.keyOf(said.entryOf(name));
  const members = ({ kernel }: Server) => kernel.cradle.cluster.members();
  const names = async (server: Server) => (await members(server)).map(({ name }) => name);
  async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    const late = performance.now() + 10_000;
    while (!(await holds())) {
      if (performance.now() > late) throw new Error(`never: ${what}`);
      await new Promise((go) => setTimeout(go, 10));
    }
  }

  beforeEach(async () => {
    store = sharedKv();
    await store.start();
  });
  afterEach(async () => {
    store.state.away = false;
    for (const { kernel, data } of servers.reverse()) {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
    servers = [];
    await store.stop();
  });

  it('tells every server who is there, where, and how far', async () => {
    const [one, two] = [await start('one'), await start('two', { supervised: true })];
    for (const server of [one, two]) {
      const all = await members(server);
      expect(
        all.map(({ name, host, port, state, supervised }) => ({ name, host, port, state, supervised })),
      ).to.deep.equal([
        { name: 'one', host: 'one', port: 1, state: 'ready', supervised: false },
        { name: 'two', host: 'two', port: 1, state: 'ready', supervised: true },
      ]);
    }
    expect(one.kernel.cradle.cluster.self).to.include({ name: 'one', revision: 0 });
    await two.records.create('setting', { name: 's', value: 1 }, { name: 'tester' });
    await until(
      'the change is told',
      async () => (await members(one)).find(({ name }) => name === 'two')?.revision === 1,
    );
  });

  it('ends with an orderly stop at once, and with a crash when the lease is over', async () => {
    const [one, two, three] = [await start('one'), await start('two'), await start('three')];
    await two.kernel.stop();
    expect(await names(one)).to.deep.equal(['one', 'three']);
    // As a process that was killed: it says nothing more.
    const { kernel } = three as unknown as { kernel: { cradle: { cluster: unknown } } };
    const membership = kernel.cradle.cluster as { stop(): Promise<void> };
    const kept = await store.kv.get(keyOf('three'));
    await membership.stop();
    await store.kv.hashSet(said.index, { [said.entryOf('three')]: 'x' });
    await store.kv.set(keyOf('three'), kept ?? '', { ttlMs: 400 });
    expect(await names(one)).to.deep.equal(['one', 'three']);
    await until('it is forgotten', async () => (await names(one)).length === 1);
    expect(Object.keys(await store.kv.hashAll(said.index))).to.deep.equal([said.entryOf('one')]);
  });

  it('serves on for a while when it leaves, and says that it does', async () => {
    const [one, two] = [await start('one'), await start('two', { lingerMs: 700 })];
    await two.records.create(
      'channel',
      { name: 'e', transport: 'topics', address: { topic: 'e' }, service: 'echo' },
      { name: 't' },
    );
    const stopping = two.kernel.stop();
    await until(
      'it is told',
      async () => (await members(one)).find(({ name }) => name === 'two')?.state === 'draining',
    );
    expect(two.kernel.cradle.server.unfit).to.equal('is draining');
    expect(await two.send('e', { body: '7' })).to.deep.include({ input: 7 });
    await stopping;
    expect(await names(one)).to.deep.equal(['one']);
  });

  it('is not for who has another token, which is told once', async () => {
    const one = await start('one');
    await start('stranger', { token: new Secret('another token') });
    for (let i = 0; i < 3; i++) expect(await names(one)).to.deep.equal(['one']);
    const told = one.lines.filter(({ level, msg }) => level === 'warn' && msg.includes('without the token'));
    expect(told.map((line) => line['member'])).to.deep.equal(['stranger']);
  });

  it('is not for who announces itself under the name of another', async () => {
    const [one, two] = [await start('one'), await start('two')];
    await store.kv.hashSet(said.index, { [said.entryOf('three')]: 'x' });
    await store.kv.set(keyOf('three'), (await store.kv.get(keyOf('two'))) ?? '');
    expect(await names(one)).to.deep.equal(['one', 'two']);
    void two;
  });

  it('is refused to a second server of a name, unless the first one died', async () => {
    const first = await start('one');
    const second = await create('one', { address: 'elsewhere:1' });
    const refused = await second.kernel.start().catch((error: { code: string; message: string }) => error);
    expect(refused).to.include({ code: 'CLUSTER_REFUSED' });
    expect((refused as { message: string }).message).to.include("'one', at one:1");
    // The same address: it took the place of the one before.
    const kept = (await store.kv.get(keyOf('one'))) ?? '';
    await first.kernel.stop();
    await store.kv.set(keyOf('one'), kept, { ttlMs: 30_000 });
    const again = await start('one');
    expect(again.kernel.state).to.equal('ready');
    // Another address: when the lease of the dead one is over.
    await again.kernel.stop();
    await store.kv.set(keyOf('one'), kept, { ttlMs: 300 });
    const moved = await start('one', { address: 'elsewhere:1' });
    expect(moved.kernel.cradle.cluster.self).to.include({ host: 'elsewhere' });
  });

  it('needs no store to start, serves without it, and says so when it is back', async () => {
    store.state.away = true;
    const one = await start('one');
    expect(one.kernel.state).to.equal('ready');
    expect(one.kernel.cradle.cluster.problem?.code).to.equal('KV_UNAVAILABLE');
    store.state.away = false;
    await until('it is there', async () => (await names(one)).length === 1);
    expect(one.kernel.cradle.cluster.problem).to.equal(null);
    const told = one.lines.filter(({ msg }) => msg.includes('does not hear of this server'));
    expect(told).to.have.lengthOf(1);
  });

  it('is known to a store that lost everything within a beat', async () => {
    const one = await start('one');
    await store.kv.remove(said.index, keyOf('one'));
    await until('it is there', async () => (await names(one)).length === 1);
  });

  it('waits for all to have a change, and names who is late', async () => {
    const one = await start('one');
    const two = await start('two', {}, { data: one.data, pollMs: 60_000 });
    const { revision } = await one.records.create('setting', { name: 's', value: 1 }, { name: 'tester' });
    const late = await one.kernel.cradle.cluster.reached(revision, 300);
    expect(late).to.deep.equal({ revision, reached: ['one'], late: [{ name: 'two', revision: 0 }] });
    // Nobody tells it, and it looks once a minute; who changes something itself looks.
    await two.records.create('setting', { name: 't', value: 1 }, { name: 'tester' });
    const reached = await one.kernel.cradle.cluster.reached(revision, 5000);
    expect(reached).to.deep.equal({ revision, reached: ['one', 'two'], late: [] });
    servers.splice(servers.indexOf(two), 1);
    await two.kernel.stop();
  });

  describe('restart', () => {
    it('ends a server that somebody starts again, and no other', async () => {
      let ended = 0;
      const onRestart = () => void ended++;
      const [one] = [await start('one'), await start('two', { supervised: true }, { onRestart })];
      const { cluster: own } = one.kernel.cradle;
      const codeOf = (name: string) =>
        own.restart(name).then(
          () => 'ok',
          ({ code }: { code: string }) => code,
        );
      expect(await codeOf('nobody')).to.equal('NOT_FOUND');
      expect(await codeOf('one')).to.equal('CONFLICT');
      expect(ended).to.equal(0);
      expect(await codeOf('two')).to.equal('ok');
      await until('it is told', () => ended === 1);
      await new Promise((go) => setTimeout(go, 400));
      expect(ended, 'once').to.equal(1);
    });

    it('is not for an earlier or later server of the name, and not without the token', async () => {
      let ended = 0;
      const onRestart = () => void ended++;
      const one = await start('one', { supervised: true }, { onRestart });
      const [member] = await members(one);
      await store.kv.set(
        said.orderOf(said.entryOf('one')),
        `${'0'.repeat(64)} ${JSON.stringify({ restart: member?.instance })}`,
      );
      await new Promise((go) => setTimeout(go, 400));
      expect(ended).to.equal(0);
    });
  });

  it('calls wait after a sleep until the server has caught up', async () => {
    const one = await start('one', {}, { pollMs: 60_000 });
    await one.records.create(
      'channel',
      { name: 'e', transport: 'topics', address: { topic: 'e' }, service: 'echo' },
      { name: 't' },
    );
    await one.records.create('setting', { name: 's', value: 1 }, { name: 't' });
    // Another server changes something while this process stands still.
    const body = { value: 2 };
    const { odb } = one.kernel.cradle;
    await odb.write([{ action: 'update', kind: 'setting', name: 's', version: 1, body }], { name: 't' });
    expect(one.records.find('setting', 's')?.definition['value']).to.equal(1);
    const end = performance.now() + 1300;
    while (performance.now() < end);
    expect(await one.send('e', { body: '1' })).to.deep.include({ input: 1 });
    expect(one.records.find('setting', 's')?.definition['value']).to.equal(2);
    expect(one.lines.some(({ msg }) => msg.includes('did not run for a while'))).to.equal(true);
  });

  it('a server that cannot get the changes that others have is unfit for calls until it has them', async () => {
    const one = await start('one');
    const two = await start('two', {}, { data: one.data });
    const { odb } = one.kernel.cradle as unknown as { odb: { revision(): Promise<number> } };
    const { revision } = odb;
    expect(one.kernel.cradle.server.unfit).to.equal(null);
    odb.revision = () => Promise.reject(new Error('cut off'));
    await until('it notices', () => one.records.status().staleSince !== null);
    expect(one.kernel.cradle.server.unfit, 'as long as nobody has more').to.equal(null);
    await two.records.create('setting', { name: 's', value: 1 }, { name: 'tester' });
    await until('it hears of it', () => one.kernel.cradle.server.unfit !== null);
    expect(one.kernel.cradle.server.unfit).to.include('changes that other servers run with');
    odb.revision = revision;
    await until('it has them', () => one.kernel.cradle.server.unfit === null);
    expect(one.records.find('setting', 's')?.definition['value']).to.equal(1);
    servers.splice(servers.indexOf(two), 1);
    await two.kernel.stop();
  });
});
