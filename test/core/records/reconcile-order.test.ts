/** In which order changes take effect: nothing is missing in between, and nothing is left behind. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { definePlugin, type GantryError, Type } from '../../../core/api.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import type { Connection, Odb } from '../../../core/ports/index.ts';
import type { Effect } from '../../../core/ports/kind.ts';
import type { Stored } from '../../../core/ports/odb.ts';
import { Reconciler, type ReconcilerParts } from '../../../core/records/reconcile.ts';
import type { Definition } from '../../../core/records/record.ts';
import { journal } from '../../fixtures/direct.ts';
import { BY, type OperatedOptions, operated } from '../../fixtures/operated.ts';

type Operated = Awaited<ReturnType<typeof operated>>;

const channel = (name: string, topic = name, more: object = {}): Definition => ({
  name,
  transport: 'topics',
  address: { topic },
  service: 'echo',
  ...more,
});
const basic = (name: string): Definition => ({
  name,
  guard: 'basic',
  definition: { users: [{ username: 'ada', password: 'people-1' }] },
});
const ADA = { body: '1', headers: { authorization: `Basic ${Buffer.from('ada:people-1').toString('base64')}` } };

/** A transport to systems that answer when they are told to. */
function slow() {
  const opened: { to: string; open: boolean; answer: () => void; refuse: (error: Error) => void }[] = [];
  const plugin = definePlugin({
    id: 'transport.slow',
    api: 1,
    config: Type.Object({}),
    create: () => ({
      supports: { reply: true, headers: false, largeBody: false },
      options: Type.Object({ to: Type.String() }),
      connect: (_name: string, { to }: Readonly<Record<string, unknown>>) =>
        new Promise<Connection>((resolve, reject) => {
          const entry = { to: String(to), open: false, answer, refuse: reject };
          opened.push(entry);
          function answer() {
            entry.open = true;
            resolve({
              send: async () => to,
              ping: async () => {},
              close: async () => {
                entry.open = false;
              },
            });
          }
        }),
    }),
  });
  return { opened, entry: { id: 'transport.slow', plugin, config: {} } as unknown as Loaded };
}

describe('the order of changes', function () {
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
    for (const { kernel } of all) await kernel.stop();
    for (const { data } of all) rmSync(data, { recursive: true, force: true });
  });
  async function until(what: string, holds: () => unknown): Promise<void> {
    for (let i = 0; i < 400; i++) {
      if (await holds()) return;
      await wait(25);
    }
    expect.fail(`not within 10 s: ${what}`);
  }
  /** Calls a topic in each turn while something is done; the different answers. */
  async function whatIsAnswered(send: Operated['send'], topic: string, work: Promise<unknown>): Promise<unknown[]> {
    const answers = new Set<unknown>();
    let done = false;
    const ending = work.finally(() => {
      done = true;
    });
    while (!done) {
      const answer = await send(topic, ADA);
      answers.add(typeof answer === 'string' ? answer : 'good');
      await turn();
    }
    await ending;
    return [...answers];
  }

  it('a channel that takes the name of another at its address is called all the while', async () => {
    const { entry } = slow();
    const { records, send, lines } = await start({ more: [entry] });
    await records.create('channel', channel('old', 'a'), BY);
    const renaming = records.apply(
      [
        { kind: 'channel', definition: channel('new', 'a') },
        { kind: 'connection', definition: { name: 'out', transport: 'slow', options: { to: 'one' } } },
      ],
      BY,
      { prune: ['channel'] },
    );
    expect(await whatIsAnswered(send, 'a', renaming)).to.deep.equal(['good']);
    expect(records.status().refused).to.deep.equal([]);
    expect(lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });
  it('many at once: each address is served all the while', async () => {
    const { records, send } = await start();
    const all = (prefix: string) =>
      Array.from({ length: 400 }, (_, i) => ({ kind: 'channel', definition: channel(`${prefix}${i}`, `t${i}`) }));
    await records.apply(all('a'), BY);
    const renaming = records.apply(all('b'), BY, { prune: ['channel'] });
    expect(await whatIsAnswered(send, 't399', renaming)).to.deep.equal(['good']);
    expect(records.status().refused).to.deep.equal([]);
  });
  it('a security definition is gone after the last channel that named it', async () => {
    const { records, send } = await start();
    const named = (security: string) =>
      Array.from({ length: 300 }, (_, i) => ({ kind: 'channel', definition: channel(`c${i}`, `t${i}`, { security }) }));
    await records.apply([{ kind: 'security', definition: basic('one') }, ...named('one')], BY);
    const renaming = records.apply([{ kind: 'security', definition: basic('two') }, ...named('two')], BY, {
      prune: ['security'],
    });
    expect(await whatIsAnswered(send, 't299', renaming)).to.deep.equal(['good']);
  });
  it('two that swap addresses are no error in the log', async () => {
    const { records, lines } = await start();
    await records.create('channel', channel('c', 'a'), BY);
    await records.create('channel', channel('d', 'b'), BY);
    const swapped = [channel('c', 'b'), channel('d', 'a')].map((definition) => ({ kind: 'channel', definition }));
    await records.apply(swapped, BY);
    expect(lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });

  describe('a channel that was refused here', () => {
    // The topics of a config file are its own: another server lets records have them.
    async function both() {
      const one = await start({ lists: { channels: [channel('f', 'mine'), channel('g', 'yours')] as never } });
      const two = await start({ data: one.data, name: 'two' });
      const settled = async () => {
        const { revision } = two.records.status();
        await until('both are there', () => one.records.status().revision >= revision);
      };
      return { one, two, settled };
    }
    it('leaves its earlier address to the one that has it by now', async () => {
      const { one, two, settled } = await both();
      await two.records.create('channel', channel('c', 'a'), BY);
      await settled();
      await two.records.update('channel', 'c', 1, { address: { topic: 'mine' } }, BY);
      await settled();
      expect(one.bound.get('a')?.name).to.equal('c');
      await two.records.create('setting', { name: 'shop.vat', value: 1 }, BY);
      await settled();
      await two.records.create('channel', channel('d', 'a'), BY);
      await settled();
      expect(one.bound.get('a')?.name).to.equal('d');
      expect(one.records.status().refused.map(({ name }) => name)).to.deep.equal(['c']);
      await two.records.remove('channel', 'c', undefined, BY);
      await settled();
      expect([[...one.bound.keys()].sort(), one.records.status().refused]).to.deep.equal([['a', 'mine', 'yours'], []]);
    });
    it('keeps serving where it was, also where another is refused', async () => {
      const { one, two, settled } = await both();
      for (const name of ['c', 'd', 'e']) await two.records.create('channel', channel(name), BY);
      await settled();
      await two.records.update('channel', 'c', 1, { address: { topic: 'mine' } }, BY);
      await settled();
      await two.records.update('channel', 'd', 1, { address: { topic: 'yours' } }, BY);
      await settled();
      await two.records.update('channel', 'e', 1, { timeoutMs: 1000 }, BY);
      await settled();
      expect([...one.bound.keys()].sort()).to.deep.equal(['c', 'd', 'e', 'mine', 'yours']);
      expect(one.records.status().refused.map(({ name }) => name)).to.deep.equal(['c', 'd']);
    });
    it('is not told again with each change', async () => {
      const { one, two, settled } = await both();
      await two.records.create('channel', channel('c', 'mine'), BY);
      for (let i = 0; i < 5; i++) await two.records.create('channel', channel(`d${i}`), BY);
      await settled();
      expect(one.lines.filter((l) => l.msg === 'a record could not be put into effect')).to.have.length(1);
      expect(one.records.status().refused.map(({ name }) => name)).to.deep.equal(['c']);
    });
  });

  describe('one after the other', () => {
    interface World {
      readonly odb: Odb;
      readonly reconciler: Reconciler;
      readonly taken: () => { revision: number; records: readonly Stored[] };
    }
    /** Follows a real database with effects that a test makes. */
    async function following(channels: Effect, parts: Partial<ReconcilerParts> = {}): Promise<World & Operated> {
      const server = await start({ pollMs: 60_000 });
      const { odb, recordKinds: kinds } = server.kernel.cradle;
      let take = (): { revision: number; records: readonly Stored[] } => expect.fail('nothing was saved');
      const reconciler = new Reconciler({
        odb,
        bus: null,
        keep: {
          read: async () => null,
          save: (state) => {
            take = state;
          },
          settle: async () => {},
        },
        effects: () => new Map(kinds.names().map((kind) => [kind, kind === 'channel' ? channels : null])),
        fixed: () => false,
        open: ({ name, body }) => ({ name, ...body }),
        keys: () => 'one',
        log: journal().logs.for('test'),
        server: 'test',
        pollMs: 60_000,
        ...parts,
      } as ReconcilerParts);
      return { ...server, odb, reconciler, taken: () => take() };
    }

    it('the state that is kept is one that there was, also in the middle of a change', async () => {
      const seen: string[] = [];
      const note = () => {
        const { revision, records } = world.taken();
        const names = records.map(({ name, version }) => `${name}${version}`).sort();
        seen.push(`${revision}: ${names.join(' ')}`);
      };
      let noting = false;
      const effect = { put: () => void (noting && note()), drop: () => void (noting && note()) };
      const world = await following(effect);
      await world.records.create('channel', channel('a'), BY);
      await world.records.create('channel', channel('b'), BY);
      await world.reconciler.load();
      noting = true;
      const next = ['b', 'c', 'd'].map((name) => ({ kind: 'channel', definition: channel(name, `x${name}`) }));
      await world.records.apply(next, BY, { prune: ['channel'] });
      expect(await world.reconciler.reach(6, 1000)).to.equal(true);
      expect(new Set(seen)).to.deep.equal(new Set(['2: a1 b1']));
      note();
      expect(seen.at(-1)).to.equal('6: b2 c1 d1');
    });
    it('one whose address comes free with a later change takes effect then', async () => {
      // What is read is of now, and may be ahead of the changes that it is read for.
      const server = await start();
      const { odb } = server.kernel.cradle;
      await server.records.create('channel', channel('c', 'a'), BY);
      await server.records.create('channel', channel('d', 'b'), BY);
      const other = await start({ data: server.data, name: 'other' });
      const hold = odb.pick;
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      (odb as { pick: Odb['pick'] }).pick = async (...args) => {
        await held;
        return hold.apply(odb, args);
      };
      await other.records.update('channel', 'c', 1, { timeoutMs: 1000 }, BY);
      await wait(200);
      await other.records.create('setting', { name: 'shop.vat', value: 1 }, BY);
      await other.records.update('channel', 'd', 1, { address: { topic: 'e' } }, BY);
      await other.records.update('channel', 'c', 2, { address: { topic: 'b' } }, BY);
      release();
      await until('it is where the records say', () => server.bound.get('b')?.name === 'c');
      expect(server.records.status().refused).to.deep.equal([]);
    });
  });

  it('in the end every server runs with what the records say, whoever changed what at once', async () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd');
    const guarded = fc.constantFrom('none', 'one', 'two');
    const one = fc.record({
      what: fc.constantFrom('put' as const, 'put' as const, 'remove' as const),
      name,
      topic: name,
      security: guarded,
      active: fc.constantFrom(true, true, true, false),
    });
    const batches = fc.array(
      fc.record({
        by: fc.constantFrom(0, 1),
        pause: fc.constantFrom(0, 0, 1, 20),
        steps: fc.array(one, { minLength: 1, maxLength: 4 }),
      }),
      { minLength: 5, maxLength: 25 },
    );
    const first = await start({ pollMs: 20 });
    const servers = [first, await start({ data: first.data, name: 'two', pollMs: 30 })];
    const securities = ['one', 'two'].map((kind) => ({ kind: 'security', definition: basic(kind) }));
    await first.records.apply(securities, BY);
    type Step = typeof one extends fc.Arbitrary<infer T> ? T : never;
    const step = async ({ records }: Operated, { what, name: of, topic, security, active }: Step) => {
      const kept = await records.get('channel', of).catch(() => null);
      if (what === 'remove') return records.remove('channel', of, undefined, BY);
      const definition = channel(of, topic, { active, ...(security === 'none' ? {} : { security }) });
      if (kept === null) return records.create('channel', definition, BY);
      const { name: _name, ...changes } = definition;
      return records.update('channel', of, kept.version, { security: null, ...changes }, BY);
    };
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        const work: Promise<unknown>[] = [];
        for (const { by, pause, steps } of all) {
          const server = servers[by] as Operated;
          // Together where each is there once, so that they may change places; else one by one.
          const names = new Set(steps.map((s) => s.name));
          const whole = names.size === steps.length && steps.every(({ what }) => what === 'put');
          const definitions = steps.map(({ name: of, topic, active }) => channel(of, topic, { active }));
          const doing = whole
            ? [
                server.records.apply(
                  definitions.map((definition) => ({ kind: 'channel', definition })),
                  BY,
                ),
              ]
            : steps.map((s) => step(server, s));
          // Who is too late, or finds an address taken, is told so.
          for (const does of doing)
            work.push(
              does.catch((error: GantryError) => expect(error.kind).to.be.oneOf(['conflict', 'missing', 'invalid'])),
            );
          if (pause > 0) await wait(pause);
        }
        await Promise.all(work);
        const { items } = await first.records.list('channel', { limit: 100 });
        const expected = items
          .filter(({ definition }) => definition['active'] !== false)
          .map(({ name: of, definition }) => `${(definition['address'] as { topic: string }).topic} ${of}`)
          .sort();
        for (const { bound, records } of servers) {
          const runs = () => [...bound].map(([topic, { name: of }]) => `${topic} ${of}`).sort();
          await until('it runs with it', () => runs().join() === expected.join()).catch(() =>
            expect(runs()).to.deep.equal(expected),
          );
          expect(records.status().refused).to.deep.equal([]);
        }
      }),
      { numRuns: 15 },
    );
  });

  describe('a stop', () => {
    it('while everything is put into effect leaves nothing open behind', async () => {
      const { entry, opened } = slow();
      const data = mkdtempSync(path.join(tmpdir(), 'gantry-order-'));
      const first = await start({ more: [entry], data });
      await first.records.create('connection', { name: 'out', transport: 'slow', options: { to: 'one' } }, BY);
      opened[0]?.answer();
      await first.kernel.stop();
      const again = slow();
      const two = await operated({ more: [again.entry], data });
      running.push(two);
      const odb = two.kernel.cradle.odb as { load: Odb['load'] };
      const { load } = odb;
      let reached = () => {};
      const loading = new Promise<void>((resolve) => {
        reached = resolve;
      });
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      odb.load = async (kinds) => {
        const loaded = await load.call(odb, kinds);
        reached();
        await held;
        return loaded;
      };
      const starting = two.kernel.start().catch(() => {});
      await loading;
      const stopping = two.kernel.stop();
      // Long after all that does not wait for it is closed.
      setTimeout(release, 200);
      await Promise.all([starting, stopping]);
      for (const one of again.opened) one.answer();
      await turn();
      expect(again.opened.filter(({ open }) => open)).to.deep.equal([]);
      expect(two.kernel.cradle.connections.list()).to.deep.equal([]);
      expect(two.bound.size).to.equal(0);
    });
    it('before the server was ready does not tell that it is', async () => {
      const made = await operated();
      running.push(made);
      let ready = false;
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const odb = made.kernel.cradle.odb as { load: Odb['load'] };
      const { load } = odb;
      odb.load = async (kinds) => {
        await held;
        return load.call(odb, kinds);
      };
      (made.kernel.hooks.ready as unknown as { call: unknown; promise: () => Promise<void> }).promise = async () => {
        ready = true;
      };
      const starting = made.kernel.start();
      await wait(50);
      const stopping = made.kernel.stop();
      release();
      await stopping;
      await starting;
      expect([ready, made.kernel.state]).to.deep.equal([false, 'stopped']);
    });
  });
});
