/** Users, their passwords and their sessions: who is out is out at once, and somebody always gets in. */
import { request } from 'node:http';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { type AdminServer, adminServer, basic, bearer, PASSWORD } from './server.ts';

describe('services/admin: users and sessions', () => {
  let server: AdminServer;
  let last = 0;

  before(async () => {
    server = await adminServer();
  });
  after(() => server.stop());

  /** A user of its own for each test. */
  const user = async (more: object = {}): Promise<string> => {
    const name = `user ${++last}`;
    await server.good('gantry.user.create', { name, role: 'viewer', password: PASSWORD, ...more });
    return name;
  };
  const change = async (name: string, changes: object) => {
    const { version } = await server.good('gantry.user.get', { name });
    return server.ask('gantry.user.update', { name, version, changes });
  };
  const login = async (authorization: string, minutes = 5): Promise<string> =>
    bearer((await server.good('gantry.session.create', { minutes }, authorization)).token);
  const status = async (authorization: string) => (await server.ask('gantry.server.info', {}, authorization)).status;

  describe('a session', () => {
    it('is a pass for a while, as the user whose it is', async () => {
      const name = await user({ role: 'operator' });
      const { token, expiresAt, role } = await server.good('gantry.session.create', { minutes: 30 }, basic(name));
      expect(role).to.equal('operator');
      expect(Date.parse(expiresAt) - Date.now()).to.be.within(29 * 60_000, 30 * 60_000);
      expect(await status(bearer(token))).to.equal(200);
      expect((await server.ask('gantry.audit.list', {}, bearer(token))).status).to.equal(200);
      expect((await server.ask('gantry.user.list', {}, bearer(token))).status).to.equal(403);
    });

    it('lasts an hour unless told, and at most a day', async () => {
      const { expiresAt } = await server.good('gantry.session.create', {});
      expect(Date.parse(expiresAt) - Date.now()).to.be.within(59 * 60_000, 60 * 60_000);
      for (const minutes of [0, 1441, 1.5, '5', null]) {
        expect((await server.ask('gantry.session.create', { minutes })).status, String(minutes)).to.equal(400);
      }
    });

    it('ends with its time', async () => {
      const { token } = server.kernel.cradle.sessions.open(await user(), 200);
      expect(await status(bearer(token))).to.equal(200);
      await wait(210);
      expect(await status(bearer(token))).to.equal(401);
    });

    it('is refused when any character of it is another one', async () => {
      const { sessions } = server.kernel.cradle;
      const name = await user();
      const { token } = sessions.open(name, 60_000);
      expect(sessions.check(token)).to.equal(name);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/~ ';
      for (let i = 0; i < token.length; i++) {
        for (const character of alphabet) {
          if (character === token[i]) continue;
          const forged = token.slice(0, i) + character + token.slice(i + 1);
          expect(sessions.check(forged), `${character} at ${i}`).to.equal(null);
        }
      }
      for (const other of [
        '',
        '.',
        '..',
        'gss1..',
        `${token}.`,
        `${token}=`,
        ` ${token}`,
        token.slice(0, -1),
        `${token}A`,
      ]) {
        expect(sessions.check(other), other).to.equal(null);
      }
      expect(await status(bearer(`${token}A`))).to.equal(401);
    });

    it('is good on every server with the same keys and records, and on none with others', async () => {
      const { sessions, server: about } = server.kernel.cradle;
      const { token } = sessions.open('admin', 60_000);
      const stranger = await adminServer();
      const sibling = await adminServer({
        name: 'server2',
        secrets: { file: path.join(about.data, 'secret.keys') },
        config: { 'dialect.sqlite': { file: path.join(about.data, 'gantry.sqlite') } },
        pollMs: 20,
      });
      try {
        expect((await stranger.ask('gantry.server.info', {}, bearer(token))).status).to.equal(401);
        expect((await sibling.ask('gantry.server.info', {}, bearer(token))).status).to.equal(200);
        await server.good('gantry.session.end', {}, bearer(token));
        // The other hears of it from the database; a second is ten times as long as it may take.
        for (let i = 0; i < 50 && (await sibling.ask('gantry.server.info', {}, bearer(token))).status === 200; i++)
          await wait(20);
        expect((await sibling.ask('gantry.server.info', {}, bearer(token))).status).to.equal(401);
      } finally {
        await stranger.stop();
        await sibling.stop();
      }
    });

    it('and all others of the user end with the next call once they are ended', async () => {
      const [name, bystander] = [await user(), await user()];
      const [one, two, foreign] = [await login(basic(name)), await login(basic(name)), await login(basic(bystander))];
      expect(await server.good('gantry.session.end', {}, one)).to.deep.equal({ ended: true });
      expect([await status(one), await status(two), await status(foreign)]).to.deep.equal([401, 401, 200]);
      expect(await status(basic(name))).to.equal(200);
      expect(await status(await login(basic(name)))).to.equal(200);
    });

    it('is ended by an administrator, too', async () => {
      const name = await user();
      const session = await login(basic(name));
      const { definition } = await server.good('gantry.user.get', { name });
      expect((await change(name, { epoch: definition.epoch + 1 })).status).to.equal(200);
      expect(await status(session)).to.equal(401);
      const again = await login(basic(name));
      // Going back would let in again who was out.
      await change(name, { epoch: definition.epoch });
      expect([await status(session), await status(again)]).to.deep.equal([401, 200]);
      await change(name, { epoch: null });
      expect([await status(session), await status(again)]).to.deep.equal([401, 200]);
    });

    it('ends for good when the user is switched off', async () => {
      const name = await user();
      const session = await login(basic(name));
      await change(name, { active: false });
      expect([await status(session), await status(basic(name))]).to.deep.equal([401, 401]);
      await change(name, { active: true });
      expect([await status(session), await status(basic(name))]).to.deep.equal([401, 200]);
    });

    it('of a user that was removed lets nobody in, also not as another of that name', async () => {
      const name = await user();
      const session = await login(basic(name));
      await server.good('gantry.user.remove', { name });
      expect([await status(session), await status(basic(name))]).to.deep.equal([401, 401]);
      await server.good('gantry.user.create', { name, role: 'administrator', password: 'of somebody else' });
      expect([await status(session), await status(basic(name))]).to.deep.equal([401, 401]);
      expect(await status(basic(name, 'of somebody else'))).to.equal(200);
    });
  });

  describe('a password', () => {
    const fresh = 'quite another password';

    it('that an administrator changes is the only one at once, and ends the sessions', async () => {
      const name = await user();
      const session = await login(basic(name));
      expect((await change(name, { password: fresh })).status).to.equal(200);
      expect([await status(basic(name)), await status(basic(name, fresh)), await status(session)]).to.deep.equal([
        401, 200, 401,
      ]);
    });

    it('that is the same as before ends nothing', async () => {
      const name = await user();
      const session = await login(basic(name));
      expect((await change(name, { password: PASSWORD })).status).to.equal(200);
      expect([await status(basic(name)), await status(session)]).to.deep.equal([200, 200]);
    });

    it('is changed by the user with the present one, and not by a session', async () => {
      const name = await user();
      const session = await login(basic(name));
      const bySession = await server.ask('gantry.session.password', { password: fresh }, session);
      expect([bySession.status, bySession.body.code]).to.deep.equal([403, 'FORBIDDEN']);
      expect(await server.good('gantry.session.password', { password: fresh }, basic(name))).to.deep.equal({
        changed: true,
      });
      expect([await status(basic(name)), await status(basic(name, fresh)), await status(session)]).to.deep.equal([
        401, 200, 401,
      ]);
      const { definition } = await server.good('gantry.user.get', { name });
      expect(definition).to.include({ role: 'viewer', passwordHash: '***' }).and.to.not.have.property('password');
    });

    it('is at least eight characters, of any kind', async () => {
      const name = await user();
      for (const password of ['', '1234567', null, 12_345_678]) {
        const refused = await server.ask('gantry.session.password', { password }, basic(name));
        // Too short or not, it may be one that is in use elsewhere.
        if (typeof password === 'string' && password !== '') expect(JSON.stringify(refused)).to.not.include(password);
        expect([refused.status, refused.body.errors[0].path]).to.deep.equal([400, '/password']);
      }
      for (const password of ['pass:word:with:colons', 'пароль с пробелами', '\u{1f511}'.repeat(8), '*'.repeat(8)]) {
        const odd = await user({ password });
        expect(await status(basic(odd, password)), password).to.equal(200);
        expect(await status(basic(odd, `${password} `)), password).to.equal(401);
      }
      expect(
        (await server.ask('gantry.user.create', { name: 'long', role: 'viewer', password: 'x'.repeat(2000) })).status,
      ).to.equal(400);
    });

    it('is taken as a hash from elsewhere only where that can be checked here', async () => {
      const foreign = { name: 'foreign', role: 'viewer', passwordHash: '$2b$10$abcdefghijklmnopqrstuv' };
      const refused = await server.ask('gantry.user.create', foreign);
      expect([refused.status, refused.body.errors[0].path]).to.deep.equal([400, '/passwordHash']);
      const both = await server.ask('gantry.user.create', { ...foreign, password: PASSWORD });
      expect([both.status, both.body.errors[0].path]).to.deep.equal([400, '/passwordHash']);
      const passwordHash = await server.kernel.cradle.passwords.hash(fresh);
      await server.good('gantry.user.create', { ...foreign, passwordHash });
      expect(await status(basic('foreign', fresh))).to.equal(200);
    });

    it('that comes as a hash ends the sessions, too', async () => {
      const name = await user();
      const session = await login(basic(name));
      await change(name, { passwordHash: await server.kernel.cradle.passwords.hash(fresh) });
      expect([await status(basic(name)), await status(basic(name, fresh)), await status(session)]).to.deep.equal([
        401, 200, 401,
      ]);
    });
  });

  describe('the last administrator', () => {
    let own: AdminServer;
    beforeEach(async () => {
      own = await adminServer();
    });
    afterEach(() => own.stop());

    const refused = async (service: string, input: object) => {
      const { status, body } = await own.ask(service, input);
      expect([status, body.code, body.detail], service).to.deep.equal([
        409,
        'RECORD_IN_USE',
        "'admin' is the last administrator",
      ]);
    };
    const apply = (definitions: readonly object[], more: object = {}) => {
      const records = definitions.map((definition) => ({ kind: 'user', definition }));
      return { records, ...more };
    };

    it('is not removed, demoted or switched off', async () => {
      await own.good('gantry.user.create', { name: 'other', role: 'developer', password: PASSWORD });
      const idle = { name: 'idle', role: 'administrator', password: PASSWORD, active: false };
      await own.good('gantry.user.create', idle);
      await refused('gantry.user.remove', { name: 'admin' });
      await refused('gantry.user.update', { name: 'admin', version: 1, changes: { role: 'developer' } });
      await refused('gantry.user.update', { name: 'admin', version: 1, changes: { active: false } });
      const demoted = { name: 'admin', role: 'viewer', password: PASSWORD };
      await refused('gantry.configuration.apply', apply([demoted]));
      await refused('gantry.configuration.apply', apply([demoted], { dryRun: true }));
      await refused('gantry.configuration.apply', apply([{ ...demoted, role: 'administrator', active: false }]));
      await refused('gantry.configuration.apply', apply([], { prune: ['user'] }));
      expect((await own.ask('gantry.user.list')).body.total).to.equal(3);
    });

    it('is not taken away together with the last but one', async () => {
      await own.good('gantry.user.create', { name: 'second', role: 'administrator', password: PASSWORD });
      const { status, body } = await own.ask('gantry.configuration.apply', apply([], { prune: ['user'] }));
      expect([status, body.code]).to.deep.equal([409, 'RECORD_IN_USE']);
      const demoted = ['admin', 'second'].map((name) => ({ name, role: 'viewer', password: PASSWORD }));
      expect((await own.ask('gantry.configuration.apply', apply(demoted))).status).to.equal(409);
      const viewer = { name: 'viewer', role: 'viewer', password: PASSWORD };
      expect((await own.ask('gantry.configuration.apply', apply([viewer], { prune: ['user'] }))).status).to.equal(409);
    });

    it('of two that remove each other at once one stays', async () => {
      await own.good('gantry.user.create', { name: 'second', role: 'administrator', password: PASSWORD });
      const asked = [
        own.ask('gantry.user.remove', { name: 'second' }, basic('admin')),
        own.ask('gantry.user.remove', { name: 'admin' }, basic('second')),
      ];
      const statuses = (await Promise.all(asked)).map(({ status }) => status);
      expect(statuses.sort()).to.deep.equal([200, 409]);
    });

    it('goes where another takes its place, also in one step', async () => {
      const second = { name: 'second', role: 'administrator', password: PASSWORD };
      const { removed, created } = await own.good('gantry.configuration.apply', apply([second], { prune: ['user'] }));
      expect([created, removed]).to.deep.equal([1, 1]);
      expect((await own.ask('gantry.user.list', {}, basic('admin'))).status).to.equal(401);
      expect((await own.ask('gantry.user.list', {}, basic('second'))).status).to.equal(200);
    });
  });

  describe('wrong passwords', () => {
    const WAIT = 400;
    let own: AdminServer;
    before(async () => {
      own = await adminServer({ config: { 'guard.users': { maxFailures: 3, waitMs: WAIT } } });
      await own.good('gantry.user.create', { name: 'bystander', role: 'viewer', password: PASSWORD });
    });
    after(() => own.stop());

    /** A call from an address of this machine. */
    const knock = (authorization: string, localAddress = '127.0.0.1') =>
      new Promise<{ status: number; retryAfter: string | undefined }>((resolve, reject) => {
        const { hostname, port } = new URL(own.url);
        const options = { hostname, port, localAddress, method: 'POST', path: '/gantry/admin/gantry.server.info' };
        request({ ...options, headers: { authorization }, agent: false }, (res) => {
          res.resume();
          resolve({ status: res.statusCode ?? 0, retryAfter: res.headers['retry-after'] });
        })
          .on('error', reject)
          .end();
      });

    it('make who sends them wait; nobody else, and not for ever', async () => {
      for (let i = 0; i < 3; i++) expect((await knock(basic('admin', 'wrong'))).status).to.equal(401);
      const until = Date.now() + WAIT;
      const waiting = await knock(basic('admin'));
      expect(waiting).to.deep.equal({ status: 429, retryAfter: '1' });
      expect((await knock(basic('admin'), '127.0.0.2')).status, 'from another address').to.equal(200);
      expect((await knock(basic('bystander'))).status, 'as another user').to.equal(200);
      await wait(Math.max(0, until - Date.now()) + 20);
      expect((await knock(basic('admin'))).status, 'after the time').to.equal(200);
    });

    it('of a user that there is not are counted alike', async () => {
      const statuses: number[] = [];
      for (let i = 0; i < 4; i++) statuses.push((await knock(basic('stranger', 'wrong'))).status);
      expect(statuses).to.deep.equal([401, 401, 401, 429]);
    });

    it('are forgotten with the right one', async () => {
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 2; i++)
          expect((await knock(basic('bystander', 'wrong'), '127.0.0.3')).status).to.equal(401);
        expect((await knock(basic('bystander'), '127.0.0.3')).status).to.equal(200);
      }
    });

    it('do not keep a session out', async () => {
      const { token } = own.kernel.cradle.sessions.open('admin', 60_000);
      for (let i = 0; i < 4; i++) await knock(basic('admin', 'wrong'), '127.0.0.4');
      expect((await knock(basic('admin'), '127.0.0.4')).status).to.equal(429);
      expect((await knock(bearer(token), '127.0.0.4')).status).to.equal(200);
    });
  });
});
