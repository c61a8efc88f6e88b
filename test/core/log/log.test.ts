import { inspect } from 'node:util';
import { expect } from 'chai';
import fc from 'fast-check';
import { Type } from 'typebox';
import { GantryError } from '../../../core/errors.ts';
import { LEVELS, type Level, Logs, quiet } from '../../../core/log/log.ts';
import { Secret, SecretText, wrapSecrets } from '../../../core/schema/secret.ts';

type Line = Record<string, unknown>;

function open(options: { level?: Level; levels?: Record<string, Level> } = {}) {
  let text = '';
  const logs = new Logs({ server: 's1', ...options, to: { write: (line: string) => void (text += line) } });
  return {
    logs,
    text: () => text,
    lines: (): Line[] =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Line),
  };
}

/** What one line looks like. */
function line(fields: object, message = 'm'): { text: string; fields: Line } {
  const { logs, text, lines } = open();
  logs.for('a.b').info(fields, message);
  expect(lines()).to.have.length(1);
  return { text: text(), fields: lines()[0] as Line };
}

describe('log', () => {
  it('a line is JSON: level, time, server, plugin, fields, message', () => {
    const { fields } = line({ port: 5, nested: { list: [1, null, 'x'] } }, 'started');
    const { time, ...rest } = fields;
    expect(rest).to.deep.equal({
      level: 'info',
      server: 's1',
      plugin: 'a.b',
      port: 5,
      nested: { list: [1, null, 'x'] },
      msg: 'started',
    });
    expect(new Date(time as string).toISOString()).to.equal(time);
  });
  it('a child adds its fields to every line, and so does its child', () => {
    const { logs, lines } = open();
    const child = logs.for('a.b').child({ service: 's' });
    child.child({ cid: 'c' }).error({ x: 1 }, 'm');
    child.warn({ service: 'other' }, 'm');
    expect(lines()[0]).to.include({ plugin: 'a.b', service: 's', cid: 'c', x: 1, level: 'error' });
    expect(lines()[1]).to.include({ service: 'other', level: 'warn' });
    expect(lines()[1]).to.not.have.property('cid');
  });
  it('no name stands twice in a line: the nearest wins', () => {
    const { logs, text } = open();
    logs.for('core').child({ service: 'a' }).warn({ plugin: 'a.b', service: 'b' }, 'm');
    expect(text().match(/"plugin":/g)).to.have.length(1);
    expect(text().match(/"service":/g)).to.have.length(1);
    expect(JSON.parse(text())).to.include({ plugin: 'a.b', service: 'b' });
  });
  it('the quiet one says nothing', () => {
    expect(quiet.child({}).isLevelEnabled('error')).to.equal(false);
  });

  describe('levels', () => {
    it('a plugin has its own, or that of all', () => {
      const { logs, lines } = open({ level: 'warn', levels: { 'a.b': 'debug' } });
      for (const id of ['a.b', 'c.d'])
        for (const level of ['debug', 'info', 'warn', 'error'] as const) logs.for(id)[level]({}, level);
      expect(lines().map((l) => `${l['plugin']} ${l['level']}`)).to.deep.equal([
        'a.b debug',
        'a.b info',
        'a.b warn',
        'a.b error',
        'c.d warn',
        'c.d error',
      ]);
    });
    it('change while it runs, for loggers that are there already and for their children', () => {
      const { logs, lines } = open({ level: 'info' });
      const log = logs.for('a.b');
      const other = logs.for('c.d');
      const service = log.child({ service: 's' });
      const call = service.child({ cid: 'c' });
      const said = () => {
        const before = lines().length;
        for (const one of [log, service, call, other]) one.debug({}, 'm');
        return lines().length - before;
      };
      expect(said()).to.equal(0);
      logs.setLevel('debug', 'a.b');
      expect([log, service, call, other].map((l) => l.isLevelEnabled('debug'))).to.deep.equal([
        true,
        true,
        true,
        false,
      ]);
      expect(said()).to.equal(3);
      logs.setLevel('debug');
      expect(said()).to.equal(4);
      logs.setLevel('silent', 'a.b');
      expect(said()).to.equal(1);
      logs.setLevel('error');
      expect(said()).to.equal(0);
      expect([logs.level(), logs.level('a.b'), logs.level('c.d')]).to.deep.equal(['error', 'silent', 'error']);
      expect([log, service, call, other].map((l) => l.isLevelEnabled('error'))).to.deep.equal([
        false,
        false,
        false,
        true,
      ]);
    });
    it('a logger made later has the level that rules then', () => {
      const { logs, lines } = open({ level: 'error' });
      logs.setLevel('debug', 'a.b');
      logs.for('a.b').debug({}, 'm');
      expect(lines()).to.have.length(1);
    });
    it('every level there is can be set', () => {
      const { logs } = open();
      const log = logs.for('a.b');
      for (const level of LEVELS) {
        logs.setLevel(level);
        expect(log.isLevelEnabled('error'), level).to.equal(!['fatal', 'silent'].includes(level));
      }
    });
  });

  describe('what must not be seen', () => {
    const SECRET = 'hunter2';
    const names = fc
      .constantFrom('authorization', 'Proxy-Authorization', 'cookie', 'Set-Cookie', 'x-api-key', 'apiKey', 'api_key')
      .map(String);
    const more = fc.constantFrom(
      'password',
      'PASSWORD',
      'dbPassword',
      'db_password',
      'PGPASSWORD',
      'passwd',
      'secret',
      'client_secret',
      'clientSecret',
      'token',
      'access_token',
      'refreshToken',
      'x-auth-token',
      'passphrase',
      'privateKey',
      'credentials',
    );
    const url = fc.constantFrom(
      `redis://:${SECRET}@h`,
      `postgres://u:${SECRET}@h:5432/d`,
      `amqp://u:a@b${SECRET}@h/v`,
      `amqp://u:a/${SECRET}@h`,
      `https://${SECRET}@github.com/x`,
      `http://user:${SECRET}@[::1]:80/?q=1`,
      `cannot reach mongodb+srv://u:${SECRET}@h/d, retrying`,
      `a://b:c@d e ftp://u:${SECRET}@h`,
    );
    const leaf: fc.Arbitrary<unknown> = fc.oneof(
      fc
        .tuple(fc.oneof(names, more), fc.constantFrom<unknown>(SECRET, [SECRET], { a: SECRET }, new Error(SECRET)))
        .map(([k, v]) => ({ [k]: v })),
      url,
      url.map((u) => ({ [u]: 1 })),
      url.map((u) => new Error(u)),
      url.map(
        (u) => new GantryError('CONFIG_INVALID', 'm', { hint: u, problems: [{ path: 'a', message: u, got: u }] }),
      ),
      url.map((u) => new Map([['a', u]])),
      url.map((u) => new Set([u])),
      names.map((n) => new Map([[n, SECRET]])),
      fc.constant(new Secret(SECRET)),
      fc.constant(Buffer.from(SECRET)),
    );
    const { shape } = fc.letrec((tie) => ({
      shape: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.array(tie('shape'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'headers', 'cause'), tie('shape'), { maxKeys: 3 }),
        tie('shape').map((cause) => new Error('outer', { cause })),
        tie('shape').map((value) => new Map([['k', value]])),
        tie('shape').map((value) => new Set([value])),
      ),
    }));

    it('does not reach a line, wherever it stands', () => {
      fc.assert(
        fc.property(shape, (value) => {
          expect(line({ value }).text).to.not.include(SECRET);
        }),
        { numRuns: 1000 },
      );
    });
    it('nor through the fields of a child', () => {
      fc.assert(
        fc.property(shape, (value) => {
          const { logs, text } = open();
          logs.for('a.b').child({ value, password: SECRET }).child({ other: value }).info({}, 'm');
          logs.root.child({ value, token: SECRET }).info({}, 'm');
          expect(text()).to.not.include(SECRET);
        }),
      );
    });
    it('nor through the message, nor an error that stands where fields should', () => {
      fc.assert(
        fc.property(url, (text) => {
          expect(line({}, text).text).to.not.include(SECRET);
          expect(line(new Error(text)).text).to.not.include(SECRET);
        }),
      );
    });
    it('what is no secret stays readable', () => {
      const kept = {
        url: 'http://h:8080/a?b=c',
        mail: 'a@b.example',
        path: 'http://h:80/users/a@b.example',
        size: 5,
        key: 'k',
        tokens: 5,
        author: 'x',
      };
      expect(line(kept).fields).to.include(kept);
      expect(line({ url: 'amqp://u:p@host:5672/v' }).fields['url']).to.equal('amqp://***@host:5672/v');
    });
    it('a Secret shows itself to nobody who does not ask', () => {
      const secret = new Secret(SECRET);
      const shown = [
        String(secret),
        `${secret}`,
        JSON.stringify({ secret }),
        inspect({ secret }, { showHidden: true, depth: 9 }),
        `${secret}${''}`,
      ];
      for (const text of shown) expect(text).to.not.include(SECRET);
      expect(secret.reveal()).to.equal(SECRET);
    });
    it('what a schema marks secret becomes a Secret, wherever it stands', () => {
      const schema = Type.Object({
        a: SecretText(),
        list: Type.Array(SecretText()),
        by: Type.Record(Type.String(), Type.Object({ key: SecretText(), name: Type.String() })),
        either: Type.Union([Type.Null(), SecretText()]),
        both: Type.Intersect([Type.Object({ x: SecretText() }), Type.Object({ y: SecretText() })]),
      });
      const value = {
        a: SECRET,
        list: [SECRET],
        by: { one: { key: SECRET, name: 'n' } },
        either: SECRET,
        both: { x: SECRET, y: SECRET },
      };
      const wrapped = wrapSecrets(schema, value) as typeof value;
      expect(JSON.stringify(wrapped)).to.not.include(SECRET);
      expect(wrapped.by.one.name).to.equal('n');
      expect((wrapped.both.x as unknown as Secret).reveal()).to.equal(SECRET);
      expect(value.a).to.equal(SECRET);
    });
  });

  describe('errors', () => {
    it('are told with code, hint, problems, stack and all their causes', () => {
      const root = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      const middle = new Error('the query failed', { cause: root });
      const error = new GantryError('OUTGOING_UNAVAILABLE', 'not there', {
        cause: middle,
        hint: 'start it',
        problems: [{ path: 'a', message: 'm' }],
      });
      const told = line({ error }).fields['error'] as Line;
      expect(told).to.include({
        type: 'GantryError',
        message: 'not there',
        code: 'OUTGOING_UNAVAILABLE',
        hint: 'start it',
      });
      expect(told['problems']).to.deep.equal([{ path: 'a', message: 'm' }]);
      expect(told['stack']).to.include('log.test.ts');
      const cause = told['cause'] as Line;
      expect(cause).to.include({ type: 'Error', message: 'the query failed' });
      expect(cause['cause']).to.include({ message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' });
    });
    it('whatever was thrown is told', () => {
      for (const thrown of ['text', 5, null, undefined, { a: 1 }, Symbol('x'), () => {}, 10n])
        expect(
          () => line({ error: new GantryError('SERVICE_FAILED', 'm', { cause: thrown }) }),
          String(thrown),
        ).to.not.throw();
      const cause = (
        line({ error: new GantryError('SERVICE_FAILED', 'm', { cause: 'text' }) }).fields['error'] as Line
      )['cause'];
      expect(cause).to.equal('text');
    });
    it('a message that is no text does not matter', () => {
      const error = Object.assign(new Error('x'), { message: { a: 1 }, stack: 5 });
      expect((line({ error }).fields['error'] as Line)['type']).to.equal('Error');
    });
    it('causes that go in a circle end', () => {
      const one = new Error('one');
      one.cause = new Error('two', { cause: one });
      expect(line({ error: one }).text.length).to.be.lessThan(20_000);
    });
  });

  describe('whatever it is given', () => {
    it('circles end', () => {
      const value: Record<string, unknown> = { name: 'x' };
      value['self'] = value;
      value['list'] = [value, { value }];
      value['map'] = new Map([['k', value]]);
      value['set'] = new Set([value]);
      expect(line({ value }).fields['value']).to.include({ name: 'x' });
    });
    it('many objects that all know each other neither hang nor fill the disk', () => {
      const all = Array.from({ length: 60 }, (_, i): Record<string, unknown> => ({ i }));
      for (const one of all) for (const other of all) one[`o${other['i']}`] = other;
      const startedAt = performance.now();
      const { text } = line({ all });
      expect(performance.now() - startedAt).to.be.lessThan(1000);
      expect(text.length).to.be.lessThan(1_000_000);
    });
    it('long lists and bytes are told by their size', () => {
      const { fields } = line({ list: Array(1000).fill(1), bytes: Buffer.alloc(5000) });
      expect(fields['list']).to.have.length(101);
      expect((fields['list'] as unknown[])[100]).to.equal('(900 more)');
      expect(fields['bytes']).to.equal('(5000 bytes)');
    });
    it('a getter that throws does not throw at who logs', () => {
      const value = {
        get lost(): string {
          throw new Error('gone');
        },
      };
      expect(line({ value, other: 1 }).fields).to.include({ value: '(unreadable)', other: 1, msg: 'm' });
      const trap = () => {
        throw new Error('keep out');
      };
      const proxy = new Proxy({}, { get: trap, getPrototypeOf: trap, ownKeys: trap, has: trap });
      expect(line({ proxy, other: new Error('x', { cause: proxy }) }).fields).to.include({
        proxy: '(unreadable)',
        msg: 'm',
      });
    });
    it('nothing makes it throw', () => {
      fc.assert(
        fc.property(
          fc.anything({
            withBigInt: true,
            withDate: true,
            withMap: true,
            withSet: true,
            withTypedArray: true,
            withNullPrototype: true,
            withObjectString: true,
            withSparseArray: true,
          }),
          (value) => {
            expect(line({ value }).fields['msg']).to.equal('m');
          },
        ),
      );
    });
    it('no text takes long', () => {
      const startedAt = performance.now();
      for (const part of ['a://', 'a://b:', 'a://b:c', 'a.', 'a://b:c@', ':', '@', 'a://b:1/'])
        line({ x: `://${part.repeat(100_000)}` });
      expect(performance.now() - startedAt).to.be.lessThan(5000);
    });
  });
});
