import { mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { GantryError, type Hooks, type Plugin, type Secret, SecretText, Type } from '../../../core/api.ts';
import { Connections } from '../../../core/calls/connections.ts';
import { createHooks } from '../../../core/hooks.ts';
import type { Connection, ConnectionEvents, Outlet, Transport } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import { journal } from '../../fixtures/direct.ts';

const Options = Type.Object({
  url: Type.String(),
  password: Type.Optional(SecretText()),
  tries: Type.Integer({ default: 3 }),
});
type Connect = NonNullable<Transport['connect']>;
const definition = { name: 'crm', transport: 'wire', options: { url: 'wire://crm' } };

/** A connection that notes what becomes of it. */
function wire(notes: string[] = [], name = 'it') {
  return {
    send: async () => 'sent',
    ping: async () => {},
    close: async () => void notes.push(`close ${name}`),
  } satisfies Connection;
}

function opening(connect: Connect, more: Partial<Transport> = {}) {
  const { logs, lines } = journal();
  const hooks: Hooks = createHooks();
  const transport: Transport = {
    supports: { reply: true, headers: false, largeBody: false },
    options: Options,
    connect,
    ...more,
  };
  const connections = new Connections({ hooks, log: logs.for('core'), transports: new Map([['wire', transport]]) });
  return { connections, hooks, lines };
}

async function refusal(work: Promise<unknown>): Promise<GantryError> {
  const thrown = await work.then(
    () => expect.fail('nothing was thrown'),
    (error: unknown) => error,
  );
  expect(thrown).to.be.instanceOf(GantryError);
  return thrown as GantryError;
}

/** Lets what is under way come as far as it can. */
async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await turn();
}

describe('outgoing connections', () => {
  describe('opening', () => {
    it('gives what can send, with options that are checked, filled in and have their secrets wrapped', async () => {
      let given: Record<string, unknown> = {};
      const { connections } = opening(async (_, options) => {
        given = options;
        return wire();
      });
      const crm = await connections.open({ ...definition, options: { url: 'u', password: 'hunter2' } });
      expect([crm.up, await crm.send({})]).to.deep.equal([true, 'sent']);
      expect([given['url'], given['tries'], String(given['password'])]).to.deep.equal(['u', 3, '***']);
      expect((given['password'] as Secret).reveal()).to.equal('hunter2');
      expect((await refusal(connections.open(definition))).code).to.equal('CONNECTION_DUPLICATE');
    });
    it('an error that another try would not mend is thrown, and nothing is tried again', async () => {
      for (const code of ['CONNECTION_INVALID', 'OUTGOING_REJECTED'] as const) {
        let tries = 0;
        const { connections, lines } = opening(async () => {
          tries++;
          throw new GantryError(code, 'no such certificate');
        });
        mock.timers.enable({ apis: ['setTimeout'] });
        try {
          expect((await refusal(connections.open(definition))).code).to.equal(code);
          mock.timers.tick(600_000);
          await settled();
        } finally {
          mock.timers.reset();
        }
        expect(tries, code).to.equal(1);
        expect(connections.find('crm'), code).to.equal(null);
        expect(lines.filter((l) => l.level === 'warn')).to.deep.equal([]);
      }
    });
    it('such an error of a later try ends the trying, and is logged', async () => {
      let tries = 0;
      const { connections, lines } = opening(async () => {
        tries++;
        throw tries === 1 ? new Error('refused') : new GantryError('CONNECTION_INVALID', 'the key has expired');
      });
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const crm = await connections.open(definition);
        expect(crm.up).to.equal(false);
        for (let i = 0; i < 5; i++) {
          mock.timers.tick(60_000);
          await settled();
        }
      } finally {
        mock.timers.reset();
      }
      expect(tries).to.equal(2);
      expect(lines.find((l) => l.level === 'error')?.error?.message).to.include('the key has expired');
    });
    it('what may pass is tried again until it is there; messages are refused until then', async () => {
      let tries = 0;
      const { connections, hooks } = opening(async () => {
        if (++tries < 3) throw tries === 1 ? new Error('refused') : new GantryError('OUTGOING_UNAVAILABLE', 'not yet');
        return wire();
      });
      const ups: string[] = [];
      hooks.connectionUp.tap('test', (name) => void ups.push(name));
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const crm = await connections.open(definition);
        const down = await refusal(crm.send({}));
        expect(down).to.include({ code: 'OUTGOING_UNAVAILABLE', retryAfterMs: 1000 });
        expect(down.cause).to.have.property('message', 'refused');
        for (let i = 0; i < 5 && !crm.up; i++) {
          mock.timers.tick(15_000);
          await settled();
        }
        expect([tries, crm.up, ups]).to.deep.equal([3, true, ['crm']]);
      } finally {
        mock.timers.reset();
      }
    });
    it('a connect() that hangs counts as failed after 15 s; what comes of it later is closed', async () => {
      const notes: string[] = [];
      const answers: ((connection: Connection) => void)[] = [];
      const { connections, lines } = opening(() => new Promise((resolve) => void answers.push(resolve)));
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        let crm: Outlet | undefined;
        void connections.open(definition).then((outlet) => {
          crm = outlet;
        });
        mock.timers.tick(14_999);
        await settled();
        expect(crm, 'given up too early').to.equal(undefined);
        mock.timers.tick(1);
        await settled();
        expect(crm?.up).to.equal(false);
        expect(lines.find((l) => l.level === 'warn')?.error?.message).to.include('15000 ms');
        // The second try is under way when the first one comes to its end.
        mock.timers.tick(200);
        await settled();
        expect(answers).to.have.length(2);
        answers[0]?.(wire(notes, 'the first'));
        await settled();
        expect([crm?.up, notes]).to.deep.equal([false, ['close the first']]);
        answers[1]?.(wire(notes, 'the second'));
        await settled();
        expect([crm?.up, notes]).to.deep.equal([true, ['close the first']]);
        await connections.closeAll();
        expect(notes).to.deep.equal(['close the first', 'close the second']);
      } finally {
        mock.timers.reset();
      }
    });
    it('one that is closed while it opens is closed once it is open', async () => {
      const notes: string[] = [];
      let answer: (connection: Connection) => void = () => {};
      const { connections } = opening(() => new Promise((resolve) => (answer = resolve)));
      const opened = connections.open(definition);
      await connections.close('crm');
      answer(wire(notes));
      const crm = await opened;
      expect([crm.up, notes, connections.find('crm')]).to.deep.equal([false, ['close it'], null]);
    });
    it('one that is lost is closed, told, and opened again', async () => {
      const notes: string[] = [];
      const events: ConnectionEvents[] = [];
      const { connections, hooks } = opening(async (_, __, told) => {
        events.push(told);
        return wire(notes, String(events.length));
      });
      hooks.connectionLost.tap('test', (name, reason) => void notes.push(`lost ${name}: ${String(reason)}`));
      const up = new Promise<void>((resolve) =>
        hooks.connectionUp.tap('test', () => {
          if (events.length === 2) resolve();
        }),
      );
      const crm = await connections.open(definition);
      events[0]?.lost('the cable');
      expect(crm.up).to.equal(false);
      events[0]?.lost('once more');
      await up;
      expect([crm.up, events.length, notes]).to.deep.equal([true, 2, ['lost crm: the cable', 'close 1']]);
      await connections.closeAll();
    });
  });

  describe('replacing', () => {
    const other = { ...definition, options: { url: 'wire://other' } };
    /** Connections that are answered when a test says so. */
    function answered() {
      const asked: {
        url: string;
        told: ConnectionEvents;
        up: () => void;
        fail: (error: Error) => void;
        open: boolean;
      }[] = [];
      const made = opening(
        (_, { url }, told) =>
          new Promise((resolve, reject) => {
            const one = { url: String(url), told, up, fail: reject, open: false };
            asked.push(one);
            function up() {
              one.open = true;
              resolve({ ...wire(), send: async () => url, close: async () => void (one.open = false) });
            }
          }),
      );
      const open = () => asked.filter((one) => one.open).map(({ url }) => url);
      return { ...made, asked, open };
    }

    it('of two changes quickly one after the other the later one counts, in whatever order they are answered', async () => {
      const { connections, asked, open } = answered();
      const opened = connections.open(definition);
      asked[0]?.up();
      const crm = await opened;
      const first = connections.replace(other);
      const second = connections.replace({ ...definition, options: { url: 'wire://third' } });
      asked[2]?.up();
      await second;
      asked[1]?.up();
      await first;
      await settled();
      expect([await crm.send({}), open()]).to.deep.equal(['wire://third', ['wire://third']]);
      await connections.closeAll();
    });
    it('one that is replaced while it opens is closed once it is open', async () => {
      const { connections, asked, open } = answered();
      const opened = connections.open(definition);
      const replaced = connections.replace(other);
      asked[1]?.up();
      asked[0]?.up();
      const crm = await opened;
      await replaced;
      await settled();
      expect([await crm.send({}), open()]).to.deep.equal(['wire://other', ['wire://other']]);
      await connections.closeAll();
    });
    it('one that is lost while it is replaced is tried once at a time', async () => {
      const { connections, asked, open, lines } = answered();
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const opened = connections.open(definition);
        asked[0]?.up();
        const crm = await opened;
        const replaced = connections.replace(other);
        asked[0]?.told.lost('the cable');
        expect(crm.up).to.equal(false);
        mock.timers.tick(10_000);
        await settled();
        expect(asked.map(({ url }) => url)).to.deep.equal(['wire://crm', 'wire://other']);
        asked[1]?.fail(new Error('refused'));
        await replaced;
        mock.timers.tick(10_000);
        await settled();
        expect(asked).to.have.length(3);
        asked[2]?.up();
        await settled();
        expect([crm.up, open()]).to.deep.equal([true, ['wire://other']]);
        mock.timers.tick(60_000);
        await settled();
        expect(asked).to.have.length(3);
        expect(lines.filter(({ msg }) => msg === 'a connection is up')).to.have.length(1);
        await connections.closeAll();
      } finally {
        mock.timers.reset();
      }
    });
    it('one that is lost while its replacement turns out to be impossible is opened again', async () => {
      const { connections, asked } = answered();
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const opened = connections.open(definition);
        asked[0]?.up();
        const crm = await opened;
        const replaced = refusal(connections.replace(other));
        asked[0]?.told.lost('the cable');
        asked[1]?.fail(new GantryError('CONNECTION_INVALID', 'no such certificate'));
        expect((await replaced).code).to.equal('CONNECTION_INVALID');
        mock.timers.tick(1000);
        await settled();
        expect(asked.map(({ url }) => url)).to.deep.equal(['wire://crm', 'wire://other', 'wire://crm']);
        asked[2]?.up();
        await settled();
        expect(await crm.send({})).to.equal('wire://crm');
        await connections.closeAll();
      } finally {
        mock.timers.reset();
      }
    });
    it('one that is down and is tried is up once, with the new definition', async () => {
      const { connections, asked, lines, open } = answered();
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const opened = connections.open(definition);
        asked[0]?.fail(new Error('refused'));
        await opened;
        mock.timers.tick(15_000);
        await settled();
        const replaced = connections.replace(other);
        asked[1]?.up();
        asked[2]?.up();
        const crm = await replaced;
        await settled();
        expect([await crm.send({}), open()]).to.deep.equal(['wire://other', ['wire://other']]);
        expect(lines.filter(({ msg }) => msg === 'a connection is up')).to.deep.equal([]);
        await connections.closeAll();
        expect(open()).to.deep.equal([]);
      } finally {
        mock.timers.reset();
      }
    });
    it('of two changes of which the later one is impossible the earlier one comes', async () => {
      const { connections, asked, open } = answered();
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const opened = connections.open(definition);
        asked[0]?.up();
        const crm = await opened;
        const first = connections.replace(other);
        const second = refusal(connections.replace({ ...definition, options: { url: 'wire://third' } }));
        asked[2]?.fail(new GantryError('CONNECTION_INVALID', 'no such certificate'));
        asked[1]?.up();
        await Promise.all([first, second]);
        expect(await crm.send({})).to.equal('wire://crm');
        mock.timers.tick(15_000);
        await settled();
        asked[3]?.up();
        await settled();
        expect([await crm.send({}), open()]).to.deep.equal(['wire://other', ['wire://other']]);
        await connections.closeAll();
      } finally {
        mock.timers.reset();
      }
    });
    it('one that is closed while it is replaced stays closed', async () => {
      const { connections, asked, open } = answered();
      const opened = connections.open(definition);
      asked[0]?.up();
      await opened;
      const replaced = connections.replace(other);
      await connections.close('crm');
      asked[1]?.up();
      await replaced;
      await settled();
      expect([open(), connections.list()]).to.deep.equal([[], []]);
    });
  });

  describe('checking', () => {
    const checks = (checkOptions: NonNullable<Transport['checkOptions']>) =>
      opening(async () => wire(), { checkOptions }).connections;

    it('what the schema cannot see is told by the transport, at its place in the config', () => {
      const hint = 'Use security.';
      const listed = checks((name) => {
        throw new GantryError('CONNECTION_INVALID', 'is not valid', {
          problems: [{ path: `connection '${name}'.options.url`, message: 'carries a password', hint }],
        });
      });
      const one = { message: 'carries a password', hint };
      expect(listed.check(definition)).to.deep.equal([{ path: "connection 'crm'.options.url", ...one }]);
      expect(listed.check(definition, 'connections[2] (crm)')).to.deep.equal([
        { path: 'connections[2] (crm).options.url', ...one },
      ]);
      const said = checks(() => {
        throw new GantryError('CONNECTION_INVALID', 'No such host', { hint });
      });
      expect(said.check(definition, 'connections[2] (crm)')).to.deep.equal([
        { path: 'connections[2] (crm).options', message: 'No such host', hint },
      ]);
    });
    it('is asked only where the schema is content, with defaults filled in and secrets wrapped', () => {
      const asked: unknown[] = [];
      const connections = checks(
        (name, { url, tries, password }) => void asked.push(name, url, tries, String(password)),
      );
      expect(connections.check({ ...definition, options: {} }).map((p) => p.path)).to.deep.equal([
        "connection 'crm'.options.url",
      ]);
      expect(asked).to.deep.equal([]);
      expect(connections.check({ ...definition, options: { url: 'u', password: 'hunter2' } })).to.deep.equal([]);
      expect(asked).to.deep.equal(['crm', 'u', 3, '***']);
    });
    it('what the transport refuses is not opened', async () => {
      let connected = false;
      const { connections } = opening(
        async () => {
          connected = true;
          return wire();
        },
        {
          checkOptions: () => {
            throw new GantryError('CONNECTION_INVALID', 'No such host');
          },
        },
      );
      const error = await refusal(connections.open(definition));
      expect(error).to.include({ code: 'CONNECTION_INVALID' });
      expect(error.message).to.include("'crm'").and.include('No such host');
      expect(connected).to.equal(false);
    });
    it('a bug in it is not taken for a problem of the config', () => {
      const connections = checks(() => {
        throw new TypeError('url is undefined');
      });
      expect(() => connections.check(definition)).to.throw(TypeError, 'url is undefined');
    });
  });

  describe('in a kernel', () => {
    const wired = (connect: Connect) => {
      const transport = { supports: { reply: true, headers: false, largeBody: false }, options: Options, connect };
      const plugin = {
        id: 'transport.wire',
        api: 1,
        config: Type.Object({}),
        create: () => transport,
      } as unknown as Plugin;
      const { logs, lines } = journal();
      const kernel = new Process({ logs, graceMs: 0 }).create([{ id: 'transport.wire', plugin, config: {} }]);
      return { kernel, lines };
    };

    it('one that can never be opened stops the boot, and the others are closed', async () => {
      const notes: string[] = [];
      const { kernel } = wired(async (name) => {
        if (name === 'bad') throw new GantryError('CONNECTION_INVALID', 'no such certificate');
        return wire(notes, name);
      });
      const bad = { ...definition, name: 'bad' };
      const error = await refusal(kernel.start({ connections: [definition, bad] }));
      expect(error.code).to.equal('CONNECTION_INVALID');
      expect([kernel.state, notes]).to.deep.equal(['stopped', ['close crm']]);
    });
    it('one that is switched off is not opened', async () => {
      const names: string[] = [];
      const { kernel } = wired(async (name) => {
        names.push(name);
        return wire();
      });
      await kernel.start({ connections: [definition, { ...definition, name: 'off', active: false }] });
      expect(names).to.deep.equal(['crm']);
      await kernel.stop();
    });
    it('one whose close() hangs does not hang the stop', async () => {
      const { kernel, lines } = wired(async () => ({ ...wire(), close: () => new Promise(() => {}) }));
      await kernel.start({ connections: [definition] });
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const stopped = kernel.stop();
        await settled();
        expect(kernel.state).to.equal('draining');
        mock.timers.tick(10_000);
        await stopped;
      } finally {
        mock.timers.reset();
      }
      expect(kernel.state).to.equal('stopped');
      expect(lines.filter((l) => l.level === 'error').map((l) => l.msg)).to.deep.equal(['closing connections failed']);
    });
  });

  it('a message that is sent is told to who taps "sent", failed or not', async () => {
    const failing = { ...wire(), send: () => Promise.reject(new Error('boom')) };
    const { connections, hooks } = opening(async (name) => (name === 'bad' ? failing : wire()));
    const told: [string, string | undefined][] = [];
    hooks.sent.tap('test', ({ connection, error }) => void told.push([connection, error?.code]));
    await (await connections.open(definition)).send({});
    const bad = await connections.open({ ...definition, name: 'bad' });
    expect((await refusal(bad.send({}))).cause).to.have.property('message', 'boom');
    expect(told).to.deep.equal([
      ['crm', undefined],
      ['bad', 'SERVICE_FAILED'],
    ]);
  });
});
