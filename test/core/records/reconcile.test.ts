/** Records take effect while the server runs. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { Call, definePlugin, type GantryError, isGantryError, Type } from '../../../core/api.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import type { Definition } from '../../../core/records/record.ts';
import { BY, type OperatedOptions, operated } from '../../fixtures/operated.ts';

type Operated = Awaited<ReturnType<typeof operated>>;

const channel = (name: string, topic = name, more: object = {}): Definition => ({
  name,
  transport: 'topics',
  address: { topic },
  service: 'echo',
  ...more,
});
const connection = (name: string, to: string, more: object = {}): Definition => ({
  name,
  transport: 'topics',
  options: { to, ...more },
});
const basic = (name: string, ...users: readonly [string, string][]): Definition => ({
  name,
  guard: 'basic',
  definition: { users: users.map(([username, password]) => ({ username, password })) },
});
const as = (user: string, password: string) => ({
  body: '1',
  headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
});

describe('records in effect', function () {
  this.timeout(60_000);
  const running: Operated[] = [];

  async function start(options: OperatedOptions & { lists?: Parameters<Operated['kernel']['start']>[0] } = {}) {
    const { lists, ...rest } = options;
    const made = await operated(rest);
    running.push(made);
    await made.kernel.start(lists);
    return made;
  }
  afterEach(async () => {
    const all = running.splice(0);
    // Some share a folder.
    for (const { kernel } of all) await kernel.stop();
    for (const { data } of all) rmSync(data, { recursive: true, force: true });
  });

  async function refusal(work: Promise<unknown>): Promise<GantryError> {
    try {
      await work;
    } catch (thrown) {
      if (isGantryError(thrown)) return thrown;
      throw thrown;
    }
    return expect.fail('it was not refused');
  }
  async function until(what: string, holds: () => unknown): Promise<void> {
    for (let i = 0; i < 400; i++) {
      if (await holds()) return;
      await wait(25);
    }
    expect.fail(`not within 10 s: ${what}`);
  }

  describe('a channel', () => {
    it('serves when its creation is answered, elsewhere when it moved, and nowhere when it is removed', async () => {
      const { records, send } = await start();
      expect(await send('a')).to.equal('nobody');
      const saved = await records.create('channel', channel('c', 'a'), BY);
      expect(saved).to.include({ version: 1, live: true });
      expect(await send('a')).to.deep.include({ input: 1 });
      expect(await records.update('channel', 'c', 1, { address: { topic: 'b' } }, BY)).to.include({ version: 2 });
      expect([await send('a'), ((await send('b')) as { input: unknown }).input]).to.deep.equal(['nobody', 1]);
      await records.update('channel', 'c', 2, { active: false }, BY);
      expect(await send('b')).to.equal('nobody');
      await records.update('channel', 'c', 3, { active: true }, BY);
      expect(await send('b')).to.deep.include({ input: 1 });
      await records.remove('channel', 'c', 4, BY);
      expect([await send('b'), records.find('channel', 'c')]).to.deep.equal(['nobody', null]);
    });
    it('is refused at an address that is taken, and what is there stays', async () => {
      const { records, send } = await start();
      await records.create('channel', channel('c', 'a'), BY);
      await records.create('channel', channel('d', 'b'), BY);
      const twice = await refusal(records.create('channel', channel('e', 'a'), BY));
      expect(twice.kind).to.equal('conflict');
      expect(twice.message).to.include("'c'");
      const moved = await refusal(records.update('channel', 'd', 1, { address: { topic: 'a' } }, BY));
      expect(moved.kind).to.equal('conflict');
      expect([await send('a'), await send('b')]).to.have.deep.members([
        { input: 1, who: null, by: null },
        { input: 1, who: null, by: null },
      ]);
      expect((await records.get('channel', 'd')).version).to.equal(1);
    });
    it('that is not active holds no address, until it becomes active', async () => {
      const { records } = await start();
      await records.create('channel', channel('c', 'a', { active: false }), BY);
      await records.create('channel', channel('d', 'a'), BY);
      expect((await refusal(records.update('channel', 'c', 1, { active: true }, BY))).kind).to.equal('conflict');
    });
    it('two may swap their addresses in one change, and three may go in a circle', async () => {
      const { records, send, bound } = await start();
      for (const name of ['a', 'b', 'c']) await records.create('channel', channel(name), BY);
      const swap = (...pairs: readonly [string, string][]) =>
        records.apply(
          pairs.map(([name, topic]) => ({ kind: 'channel', definition: channel(name, topic) })),
          BY,
        );
      const owners = () => ['a', 'b', 'c'].map((topic) => bound.get(topic)?.name);
      await swap(['a', 'b'], ['b', 'a']);
      expect(owners()).to.deep.equal(['b', 'a', 'c']);
      await swap(['a', 'c'], ['c', 'a'], ['b', 'b']);
      expect(owners()).to.deep.equal(['c', 'b', 'a']);
      expect(records.status().refused).to.deep.equal([]);
      expect(await send('a')).to.deep.include({ input: 1 });
    });
    it('calls in hand end on what they began with', async () => {
      const { records, bound, opened } = await start();
      await records.create('connection', connection('out', 'one'), BY);
      await records.create('channel', channel('c', 'a', { service: 'forward' }), BY);
      const slow = bound.get('a')?.run(new Call('c', { body: JSON.stringify({ connection: 'out', body: 'hold' }) }));
      await records.update('channel', 'c', 1, { service: 'echo' }, BY);
      await records.remove('channel', 'c', undefined, BY);
      opened[0]?.release();
      expect((await slow)?.body).to.equal('"one open"');
    });
    it('of the config file cannot be changed or shadowed by a record, and says so', async () => {
      const { records, send } = await start({ lists: { channels: [channel('c', 'a') as never] } });
      const shadow = await refusal(records.create('channel', channel('c', 'b'), BY));
      expect([shadow.kind, shadow.message]).to.deep.equal([
        'conflict',
        "The config file of this server has a channel 'c'",
      ]);
      expect((await refusal(records.update('channel', 'c', 1, { active: false }, BY))).message).to.include(
        'config file',
      );
      expect(records.fixtures('channel').map(({ name }) => name)).to.deep.equal(['c']);
      expect(await send('a')).to.deep.include({ input: 1 });
    });
  });

  describe('a connection', () => {
    it('is replaced under the services that use it: those on their way end on the old one, which is closed then', async () => {
      const { records, send, opened } = await start();
      await records.create('connection', connection('out', 'one'), BY);
      await records.create('channel', channel('c', 'a', { service: 'forward' }), BY);
      const ask = (body: string) => send('a', { body: JSON.stringify({ connection: 'out', body }) });
      expect(await ask('x')).to.equal('one open');
      await records.update('connection', 'out', 1, { options: { to: 'two' } }, BY);
      expect(await ask('x')).to.equal('two open');
      await until('the old one is closed', () => opened[0]?.open === false);
      await records.remove('connection', 'out', undefined, BY);
      expect(await ask('x')).to.equal('CONNECTION_NOT_FOUND');
    });
    it('that cannot be reached now is kept and tried again, and does not hold up other changes', async () => {
      const { records, send } = await start();
      await records.create('connection', connection('out', 'nowhere'), BY);
      await records.create('channel', channel('c', 'a', { service: 'forward' }), BY);
      const ask = () => send('a', { body: JSON.stringify({ connection: 'out', body: 'x' }) });
      expect(await ask()).to.equal('OUTGOING_UNAVAILABLE');
      await records.update('connection', 'out', 1, { options: { to: 'one' } }, BY);
      await until('it is up', async () => (await ask()) === 'one open');
    });
  });

  describe('a security definition', () => {
    it('is changed for all its channels at once, without binding them anew', async () => {
      const { records, send, bound } = await start();
      await records.create('security', basic('people', ['ada', 'first-one']), BY);
      await records.create('channel', channel('c', 'a', { security: 'people' }), BY);
      const before = bound.get('a');
      expect(await send('a')).to.equal('AUTH_MISSING');
      expect(await send('a', as('ada', 'first-one'))).to.deep.include({ who: 'ada', by: 'people' });
      await records.update('security', 'people', 1, { definition: basic('', ['ada', 'second-one'])['definition'] }, BY);
      expect(await send('a', as('ada', 'first-one'))).to.equal('AUTH_REJECTED');
      expect(await send('a', as('ada', 'second-one'))).to.deep.include({ who: 'ada' });
      expect(bound.get('a')).to.equal(before);
    });
    it('several on one channel: any of them lets in', async () => {
      const { records, send } = await start();
      await records.create('security', basic('people', ['ada', 'people-1']), BY);
      await records.create('security', basic('partners', ['bob', 'partners-1']), BY);
      await records.create('channel', channel('c', 'a', { security: ['people', 'partners'] }), BY);
      expect(await send('a', as('ada', 'people-1'))).to.deep.include({ who: 'ada', by: 'people' });
      expect(await send('a', as('bob', 'partners-1'))).to.deep.include({ who: 'bob', by: 'partners' });
      expect(await send('a', as('bob', 'people-1'))).to.equal('AUTH_REJECTED');
      expect(await send('a')).to.equal('AUTH_MISSING');
    });
    it('that is used cannot be removed, and it is told by what; a channel cannot name one that is not there', async () => {
      const { records } = await start();
      await records.create('security', basic('people', ['ada', 'people-1']), BY);
      await records.create('channel', channel('c', 'a', { security: 'people' }), BY);
      const used = await refusal(records.remove('security', 'people', undefined, BY));
      expect([used.code, /channel 'c'/.test(used.message)]).to.deep.equal(['RECORD_IN_USE', true]);
      const dangling = await refusal(records.create('channel', channel('d', 'b', { security: 'peopel' }), BY));
      expect(dangling.problems?.[0]).to.include({ path: '/security', got: 'peopel', hint: "Did you mean 'people'?" });
    });
    it('of the config file cannot be gone, and a vacant one lets nobody in', async () => {
      const lists = { channels: [channel('c', 'a', { security: 'later' }) as never] };
      const { records, send, lines } = await start({ lists });
      expect(await send('a', as('ada', 'people-1'))).to.equal('UNAVAILABLE');
      const told = lines.find((line) => line.msg.includes('names a security definition that is not there'));
      expect(told).to.deep.include({ level: 'warn', channel: 'c', security: ['later'] });
      await records.create('security', basic('later', ['ada', 'people-1']), BY);
      expect(await send('a', as('ada', 'people-1'))).to.deep.include({ who: 'ada' });
      const used = await refusal(records.remove('security', 'later', undefined, BY));
      expect([used.code, /channel 'c' of the config file/.test(used.message)]).to.deep.equal(['RECORD_IN_USE', true]);
    });
  });

  it('a setting changes the level of the log, and its removal changes it back', async () => {
    const { records, lines, kernel } = await start();
    await records.create('setting', { name: 'log.level', value: 'error' }, BY);
    const quiet = lines.length;
    kernel.log.info({}, 'hidden');
    expect(lines.slice(quiet)).to.deep.equal([]);
    expect(
      (await refusal(records.update('setting', 'log.level', 1, { value: 'loud' }, BY))).problems?.[0]?.path,
    ).to.equal('/value');
    await records.remove('setting', 'log.level', undefined, BY);
    kernel.log.info({}, 'shown');
    expect(lines.at(-1)?.msg).to.equal('shown');
  });

  describe('a whole configuration', () => {
    const batch = (kind: string, definition: Definition) => [{ kind, definition }];

    it('is refused with what no server could put into effect, and not only with what the schema sees', async () => {
      const { records } = await start();
      const twice = basic('people', ['ada', 'people-1'], ['ada', 'people-2']);
      const alone = await refusal(records.create('security', twice, BY));
      const together = await refusal(records.apply(batch('security', twice), BY));
      expect([alone.code, together.code]).to.deep.equal(['RECORD_INVALID', 'RECORD_INVALID']);
      expect(together.problems?.[0]?.path).to.equal(`/records/0/definition${alone.problems?.[0]?.path}`);
      expect((await refusal(records.get('security', 'people'))).code).to.equal('RECORD_NOT_FOUND');
    });
    it('may take the address of what it takes away', async () => {
      const { records, bound } = await start();
      await records.create('channel', channel('c', 'a'), BY);
      await records.apply(batch('channel', channel('d', 'a')), BY, { prune: ['channel'] });
      expect([bound.get('a')?.name, bound.size, records.status().refused]).to.deep.equal(['d', 1, []]);
    });
    it('that is applied twice at once is applied once, and one who comes too late is told', async () => {
      const { records } = await start();
      const outcomes = await Promise.allSettled(
        ['a', 'b'].map((topic) => records.apply(batch('channel', channel('c', topic)), BY)),
      );
      const [late] = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as GantryError] : []));
      expect([late?.kind, (await records.get('channel', 'c')).version]).to.deep.equal(['conflict', 1]);
    });
  });

  it('one address written in two ways is one: two servers at once cannot both have it', async () => {
    const address = Type.Object(
      { queue: Type.String(), host: Type.String({ default: 'main' }) },
      { additionalProperties: false },
    );
    const plugin = definePlugin({
      id: 'transport.queues',
      api: 1,
      config: Type.Object({}),
      create: () => ({ supports: { reply: false, headers: false, largeBody: false }, address, bind() {}, unbind() {} }),
    });
    const more = [{ id: 'transport.queues', plugin, config: {} } as unknown as Loaded];
    const { records } = await start({ more });
    const made = (name: string, where: object) =>
      records.create('channel', { name, transport: 'queues', address: where, service: 'echo' }, BY);
    await made('c', { queue: 'q', host: 'main' });
    expect((await refusal(made('d', { host: 'main', queue: 'q' }))).code).to.equal('RECORD_TAKEN');
    expect((await refusal(made('d', { queue: 'q' }))).code).to.equal('RECORD_TAKEN');
    await made('d', { queue: 'q', host: 'other' });
  });

  describe('several servers', () => {
    it('a change that one acknowledged is in effect on the others, without a word from it', async () => {
      const one = await start();
      const two = await start({ data: one.data, name: 'two' });
      await one.records.create('channel', channel('c', 'a'), BY);
      await until('the other serves it', async () => (await two.send('a')) !== 'nobody');
      const [first, second] = await Promise.allSettled([
        one.records.update('channel', 'c', 1, { address: { topic: 'b' } }, BY),
        two.records.update('channel', 'c', 1, { address: { topic: 'd' } }, BY),
      ]);
      const won = [first, second].filter(({ status }) => status === 'fulfilled');
      expect(won, 'one of two changes to the same version').to.have.length(1);
      const stale = [first, second].find(({ status }) => status === 'rejected') as PromiseRejectedResult;
      expect(stale.reason).to.include({ kind: 'conflict' });
      await until('both serve the same', () => [...one.bound.keys()].join() === [...two.bound.keys()].join());
    });
    it('two administrators who are taken away on two servers at once: one of them stays', async () => {
      const one = await start();
      const two = await start({ data: one.data, name: 'two' });
      const names = ['ada', 'bob'];
      for (let round = 0; round < 5; round++) {
        const version = async (name: string) => (await one.records.get('user', name).catch(() => null))?.version ?? 0;
        for (const name of names) {
          const user = { name, role: 'administrator', password: 'a-password' };
          const known = await version(name);
          if (known === 0) await one.records.create('user', user, BY);
          else await one.records.update('user', name, known, { role: 'administrator', active: true }, BY);
        }
        const [ada, bob] = [await version('ada'), await version('bob')];
        const outcomes = await Promise.allSettled([
          one.records.update('user', 'ada', ada, round % 2 === 0 ? { role: 'viewer' } : { active: false }, BY),
          round < 2
            ? two.records.update('user', 'bob', bob, { role: 'viewer' }, BY)
            : two.records.remove('user', 'bob', undefined, BY),
        ]);
        const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [(o.reason as GantryError).kind] : []));
        expect(refused, `round ${round}`).to.deep.equal(['conflict']);
        const { items } = await one.records.list('user', { limit: 10 });
        const left = items.filter(({ definition: d }) => d['role'] === 'administrator' && d['active'] !== false);
        expect(left, `round ${round}`).to.have.length(1);
      }
    });
    it('the same address on two servers at once: one of the two is refused', async () => {
      const one = await start({ pollMs: 60_000 });
      const two = await start({ data: one.data, name: 'two', pollMs: 60_000 });
      const outcomes = await Promise.allSettled([
        one.records.create('channel', channel('c', 'a'), BY),
        two.records.create('channel', channel('d', 'a'), BY),
      ]);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
      const refused = outcomes.find((one): one is PromiseRejectedResult => one.status === 'rejected');
      expect(refused?.reason).to.include({ kind: 'conflict' });
    });
  });

  describe('what cannot be put into effect here', () => {
    it('is told by the status, leaves the rest alone, and takes effect when it can', async () => {
      const one = await start({ lists: { channels: [channel('fixed', 'a') as never] } });
      // A server whose config file has nothing at that address lets it in.
      const two = await start({ data: one.data, name: 'two' });
      await two.records.create('channel', channel('c', 'a'), BY);
      await two.records.create('channel', channel('d', 'b'), BY);
      await until('the rest is there', async () => (await one.send('b')) !== 'nobody');
      expect(one.records.status().refused).to.deep.equal([
        { kind: 'channel', name: 'c', problem: "The topic 'a' is taken by 'fixed'" },
      ]);
      expect(two.records.status().refused).to.deep.equal([]);
      await two.records.update('channel', 'c', 1, { address: { topic: 'e' } }, BY);
      await until('it is in effect', async () => (await one.send('e')) !== 'nobody');
      expect(one.records.status().refused).to.deep.equal([]);
      expect(one.lines.filter((l) => l.msg === 'a record could not be put into effect')).to.have.length(1);
    });
  });

  describe('starting again', () => {
    it('everything is as it was, secrets too', async () => {
      const one = await start();
      await one.records.create('connection', connection('out', 'one', { token: 'hunter2' }), BY);
      await one.records.create('security', basic('people', ['ada', 'people-1']), BY);
      await one.records.create(
        'channel',
        channel('c', 'a', { security: 'people', settings: { token: 'hunter3' } }),
        BY,
      );
      await one.kernel.stop();
      const two = await start({ data: one.data });
      expect(await two.send('a', as('ada', 'people-1'))).to.deep.include({ who: 'ada' });
      expect(two.opened.map(({ token }) => token)).to.deep.equal(['hunter2']);
      const kept = readFileSync(path.join(one.data, 'gantry.sqlite')).toString('latin1');
      const snapshot = readFileSync(path.join(one.data, 'snapshot.jsonl'), 'utf8');
      const shown = JSON.stringify([await two.records.list('channel', { limit: 10 }), await two.records.export()]);
      for (const secret of ['hunter2', 'hunter3', 'people-1']) {
        expect([kept, snapshot, shown, JSON.stringify(two.lines)].some((text) => text.includes(secret))).to.equal(
          false,
        );
      }
    });
    it('under another key secrets cannot be read: it is told which key is missing, and the rest is served', async () => {
      const one = await start();
      await one.records.create('connection', connection('out', 'one', { token: 'hunter2' }), BY);
      await one.records.create('channel', channel('c', 'a'), BY);
      await one.kernel.stop();
      writeFileSync(path.join(one.data, 'secret.keys'), `${Buffer.alloc(32, 7).toString('base64')}\n`);
      const two = await start({ data: one.data });
      expect(await two.send('a')).to.deep.include({ input: 1 });
      const [refused] = two.records.status().refused;
      expect(refused).to.include({ kind: 'connection', name: 'out' });
      expect(two.lines.some((l) => l.level === 'error' && /key/.test(JSON.stringify(l)))).to.equal(true);
    });
    it('the state on disk follows the changes', async () => {
      const one = await start();
      await one.records.create('channel', channel('c', 'a'), BY);
      await one.kernel.stop();
      const file = path.join(one.data, 'snapshot.jsonl');
      expect(existsSync(file)).to.equal(true);
      expect(readFileSync(file, 'utf8')).to.include('"c"');
    });
  });
});
