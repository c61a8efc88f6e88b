import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { Call, type GantryError, type Identity, ROLES } from '../../../core/api.ts';
import type { Plugin } from '../../../core/cradle.ts';
import type { Guard } from '../../../core/ports/index.ts';
import { wrapSecrets } from '../../../core/schema/secret.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import { basicOf, bearerOf } from '../../../plugins/guard-users/credentials.ts';
import plugin from '../../../plugins/guard-users/index.ts';
import { Throttle } from '../../../plugins/guard-users/throttle.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import argon2 from '../../../plugins/password-argon2/index.ts';
import { testGuard } from '../../kit/guard.ts';
import { type AdminServer, adminServer, basic, bearer, PASSWORD } from '../../services/admin/server.ts';

const cheap = { memoryKiB: 8, iterations: 1, waiting: 1000 };

describe('guard.users', () => {
  describe('contract', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-users-'));
    const home = process.cwd();

    before(async () => {
      // The kit's kernel finds its data where it runs: users that were made before.
      const data = path.join(folder, 'data');
      mkdirSync(data);
      const server = await adminServer({ data });
      await server.good('gantry.user.create', { name: 'Ada Lovelace', role: 'operator', password: PASSWORD });
      await server.good('gantry.user.create', { name: 'off', role: 'operator', password: PASSWORD, active: false });
      await server.stop();
      process.chdir(folder);
    });
    after(() => {
      process.chdir(home);
      rmSync(folder, { recursive: true, force: true });
    });

    testGuard({
      plugin: plugin as unknown as Plugin,
      config: { maxFailures: 100_000 },
      beside: [
        { plugin: odb as unknown as Plugin },
        { plugin: sqlite as unknown as Plugin },
        { plugin: argon2 as unknown as Plugin, config: cheap },
      ],
      definition: { role: 'operator' },
      right: { authorization: basic('Ada Lovelace') },
      identity: { name: 'Ada Lovelace', roles: ['viewer', 'operator'] },
      wrong: [
        { authorization: basic('Ada Lovelace', 'not the password') },
        { authorization: basic('ada lovelace') },
        { authorization: basic('stranger') },
        { authorization: basic('off') },
        { authorization: bearer('gss1.e30.AAAA') },
        { authorization: 'Basic not-base64!' },
        { authorization: 'Negotiate something-long-enough' },
        { authorization: [basic('Ada Lovelace'), basic('Ada Lovelace')] },
      ],
      refused: [
        { definition: { role: 'god' }, path: 'role' },
        { definition: { role: 5 }, path: 'role' },
      ],
    });
  });

  describe('with real users', () => {
    let server: AdminServer;
    before(async () => {
      server = await adminServer();
      for (const role of ROLES) await server.good('gantry.user.create', { name: role, role, password: PASSWORD });
    });
    after(() => server.stop());

    const guard = () => server.kernel.cradle.guards.get('users') as Guard;
    const check = async (definition: object, authorization: string): Promise<Identity | GantryError> => {
      const compiled = guard().compile(wrapSecrets(guard().definition, { ...definition }) as Record<string, unknown>);
      return Promise.resolve(new Call('test', { headers: { authorization } }))
        .then(compiled)
        .catch((error: GantryError) => error);
    };

    it('lets in the roles from the one that is asked for on', async () => {
      for (const [i, role] of ROLES.entries()) {
        for (const [j, own] of ROLES.entries()) {
          const found = await check({ role }, basic(own));
          if (j >= i) expect(found).to.deep.equal({ name: own, roles: ROLES.slice(0, j + 1) });
          else expect(found).to.include({ code: 'AUTH_FORBIDDEN', kind: 'forbidden' });
        }
      }
    });

    it('asks for a viewer where no role is told', async () => {
      expect(await check({}, basic('viewer'))).to.deep.equal({ name: 'viewer', roles: ['viewer'] });
    });

    it('tells by its challenge both ways in', async () => {
      const { challenge } = (await check({}, basic('viewer', 'wrong'))) as GantryError;
      expect(challenge).to.match(/^Basic realm="[^"]+", charset="UTF-8", Bearer realm="[^"]+"$/);
    });

    it('may guard a channel of anybody', async () => {
      const address = { method: 'POST', path: '/guarded' };
      const security = { guard: 'users', role: 'operator' };
      const channel = { name: 'guarded', transport: 'rest', address, service: 'demo.hello', security };
      await server.good('gantry.channel.create', channel);
      const status = async (authorization: string) => {
        const headers = { authorization, 'content-type': 'application/json' };
        return (await fetch(`${server.url}/guarded`, { method: 'POST', headers, body: '{"name":"Ada"}' })).status;
      };
      expect([await status(basic('viewer')), await status(basic('operator'))]).to.deep.equal([403, 200]);
      const { token } = server.kernel.cradle.sessions.open('operator', 60_000);
      expect(await status(bearer(token))).to.equal(200);
    });
  });

  describe('credentials', () => {
    const name = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes(':') && text.isWellFormed());
    const password = fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed());

    it('come out of a header as they went in', () => {
      fc.assert(
        fc.property(name, password, fc.constantFrom('Basic', 'basic', 'BASIC'), (user, secret, scheme) => {
          const token = Buffer.from(`${user}:${secret}`).toString('base64');
          expect(basicOf(`${scheme} ${token}`)).to.deep.equal({ name: user, password: secret });
          expect(bearerOf(`${scheme} ${token}`)).to.equal(null);
        }),
      );
      expect(bearerOf('bearer gss1.a-_.b')).to.equal('gss1.a-_.b');
    });

    it('that are malformed are none', () => {
      const latin = Buffer.from('ü:x', 'latin1').toString('base64');
      const malformed = [
        '',
        'Basic',
        'Basic ',
        'Basic YTpi Yg==',
        'Basic YTp',
        'Basic YTpiYg',
        `Basic ${latin}`,
        'Basic YWI=',
        'BasicYTpi',
      ];
      for (const header of malformed) expect(basicOf(header), header).to.equal(null);
      for (const header of ['', 'Bearer', 'Bearer ', 'Bearer a b', 'Bearer a,b', 'Bearer ä', 'Bearera']) {
        expect(bearerOf(header), header).to.equal(null);
      }
    });

    it('take no longer for long ones', () => {
      const startedAt = performance.now();
      for (const header of [`Basic ${'A'.repeat(1e6)}!`, `Bearer ${'='.repeat(1e6)}!`, `${' '.repeat(1e6)}Basic`]) {
        expect([basicOf(header), bearerOf(header)]).to.deep.equal([null, null]);
      }
      expect(performance.now() - startedAt).to.be.lessThan(1000);
    });
  });

  describe('throttle', () => {
    const code = (throttle: Throttle, who: string): string => {
      try {
        throttle.refuse(who);
        return 'let in';
      } catch (error) {
        const { code: told, retryAfterMs = 0 } = error as GantryError;
        expect(retryAfterMs).to.be.within(0, 10_000);
        return told;
      }
    };

    it('counts by who it is, and forgets', () => {
      const throttle = new Throttle(2, 10_000);
      throttle.failed('a');
      expect(code(throttle, 'a')).to.equal('let in');
      throttle.failed('a');
      expect([code(throttle, 'a'), code(throttle, 'b')]).to.deep.equal(['BUSY', 'let in']);
      throttle.forget('a');
      expect(code(throttle, 'a')).to.equal('let in');
    });

    it('lets go after the time', async () => {
      const throttle = new Throttle(1, 30);
      throttle.failed('a');
      expect(code(throttle, 'a')).to.equal('BUSY');
      await wait(40);
      expect(code(throttle, 'a')).to.equal('let in');
      throttle.failed('a');
      expect(code(throttle, 'a')).to.equal('BUSY');
    });

    it('does not fill the memory, and forgets the oldest first', () => {
      const throttle = new Throttle(1, 10_000);
      for (let i = 0; i < 20_000; i++) throttle.failed(`caller ${i}`);
      expect([code(throttle, 'caller 0'), code(throttle, 'caller 19999')]).to.deep.equal(['let in', 'BUSY']);
    });
  });
});
