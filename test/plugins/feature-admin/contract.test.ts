import { spawn } from 'node:child_process';
import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { defineService, GantryError, type Service, Type } from '../../../core/api.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import type { Odb } from '../../../core/ports/index.ts';
import admin from '../../../plugins/feature-admin/index.ts';
import users from '../../../plugins/guard-users/index.ts';
import { folder, follow, home, type Running } from '../../e2e/process.ts';
import { operated } from '../../fixtures/operated.ts';
import { type AdminServer, adminServer, basic, PASSWORD } from '../../services/admin/server.ts';

describe('feature.admin', function () {
  this.timeout(60_000);

  const service = (name: string, admin?: unknown): Service =>
    defineService({
      name,
      ...(admin === undefined ? {} : { attributes: { admin } }),
      input: Type.Object({}),
      output: Type.Object({ service: Type.String() }),
      create: () => () => ({ service: name }),
    });

  describe('where services are', () => {
    let server: AdminServer;
    before(async () => {
      server = await adminServer({
        config: { 'feature.admin': { path: '/intern/api', maxBodyBytes: 1000 } },
        services: [
          service('acme.plain', { role: 'viewer' }),
          service('acme.placed', { role: 'viewer', method: 'PUT', path: 'things/placed' }),
          service('acme.open', { role: 'public', method: 'GET' }),
          service('acme.wrong', { role: 'emperor' }),
          service('acme.empty', {}),
          service('acme.private'),
        ],
      });
    });
    after(() => server.stop());

    const status = async (method: string, to: string, authorization: string | null = basic('admin'), body = '{}') => {
      const headers = { 'content-type': 'application/json', ...(authorization === null ? {} : { authorization }) };
      const reply = await fetch(server.url + to, { method, headers, ...(method === 'GET' ? {} : { body }) });
      await reply.arrayBuffer();
      return reply.status;
    };

    it('below the path, by their names, or where they say', async () => {
      expect(await status('POST', '/intern/api/acme.plain')).to.equal(200);
      expect(await status('PUT', '/intern/api/things/placed')).to.equal(200);
      expect(await status('POST', '/intern/api/acme.placed')).to.equal(404);
      expect(await status('POST', '/gantry/admin/acme.plain')).to.equal(404);
    });

    it('for everybody only where that is said', async () => {
      expect(await status('GET', '/intern/api/acme.open', null)).to.equal(200);
      expect(await status('POST', '/intern/api/acme.plain', null)).to.equal(401);
    });

    it('nowhere, where they do not say for whom they are, or nobody knows the role', async () => {
      for (const name of ['acme.private', 'acme.wrong', 'acme.empty']) {
        expect(await status('POST', `/intern/api/${name}`), name).to.equal(404);
      }
      const told = server.lines.filter((line) => line.includes('SERVICE_INVALID'));
      expect(told.some((line) => line.includes('acme.wrong') && line.includes('emperor'))).to.equal(true);
      expect(told.some((line) => line.includes('acme.empty'))).to.equal(true);
    });

    it('take no more than the size that is configured', async () => {
      expect(await status('POST', '/intern/api/acme.plain', basic('admin'), `{"a":"${'x'.repeat(900)}"}`)).to.equal(
        200,
      );
      expect(await status('POST', '/intern/api/acme.plain', basic('admin'), `{"a":"${'x'.repeat(1000)}"}`)).to.equal(
        413,
      );
      expect(await status('POST', '/intern/api/acme.plain', null, 'x'.repeat(2000))).to.equal(401);
    });
  });

  for (const [what, config, hint] of [
    ['the guard that knows its users', { 'guard.users': null }, 'guard.users'],
    ['the transport that it names', { 'feature.admin': { transport: 'rset' } }, "'rest'"],
  ] as const) {
    it(`does not start without ${what}, and tells it once, not for each service`, async () => {
      const refused = await adminServer({ config }).catch((error: GantryError) => error);
      expect(refused).to.include({ code: 'CONFIG_INVALID' });
      const { problems = [] } = refused as GantryError;
      expect(problems).to.have.lengthOf(1);
      expect(problems[0]?.path).to.equal('plugins.feature.admin');
      expect(problems[0]?.hint).to.include(hint);
    });
  }

  describe('with a database that is away', () => {
    type Mutable = { -readonly [K in keyof Odb]: Odb[K] };
    const all = ['load', 'revision', 'changes', 'pick', 'find', 'list', 'write'] as const;
    const gone = () => Promise.reject(new GantryError('ODB_UNAVAILABLE', 'The database is away'));
    const running: Awaited<ReturnType<typeof operated>>[] = [];
    const printed: string[] = [];
    const { write } = process.stdout;

    async function server(data?: string, withAdmin = true) {
      const plugins = [
        { id: 'guard.users', plugin: users, config: {} },
        { id: 'feature.admin', plugin: admin, config: {} },
      ];
      const more = withAdmin ? (plugins as unknown as Loaded[]) : [];
      const made = await operated({ more, ...(data === undefined ? {} : { data }) });
      running.push(made);
      const odb = made.kernel.cradle.odb as Mutable;
      const there = { ...odb };
      return {
        ...made,
        odb,
        away: () => void Object.assign(odb, Object.fromEntries(all.map((one) => [one, gone]))),
        back: () => void Object.assign(odb, Object.fromEntries(all.map((one) => [one, there[one]]))),
      };
    }
    async function until(what: string, holds: () => unknown): Promise<void> {
      for (let i = 0; i < 200; i++) {
        if (await holds()) return;
        await wait(25);
      }
      expect.fail(`not within 5 s: ${what}`);
    }
    beforeEach(() => {
      printed.length = 0;
      process.stdout.write = ((text: string, ...rest: []) => {
        printed.push(String(text));
        return write.call(process.stdout, text, ...rest);
      }) as typeof write;
    });
    afterEach(async () => {
      process.stdout.write = write;
      const stopped = running.splice(0);
      for (const { kernel } of stopped) await kernel.stop();
      for (const { data } of stopped) rmSync(data, { recursive: true, force: true });
    });
    const told = () => printed.filter((text) => text.includes('The first administrator'));

    it('the first administrator is made when it is back, and the server is put on record', async () => {
      const before = await server(undefined, false);
      await before.kernel.start();
      await before.kernel.stop();
      const { kernel, records, away, back } = await server(before.data);
      away();
      await kernel.start();
      expect([kernel.state, records.status().source, told()]).to.deep.equal(['ready', 'snapshot', []]);
      back();
      await until('somebody is there', () => records.find('user', 'admin') !== null);
      await until('the server is there', () => records.find('server', 'gantry') !== null);
      expect(told()).to.have.length(1);
    });
    it('where there are users already nobody is made, also where those on disk are older', async () => {
      const before = await server(undefined, false);
      await before.kernel.start();
      await before.kernel.stop();
      const other = await server(undefined, false);
      copyFileSync(path.join(before.data, 'gantry.sqlite'), path.join(other.data, 'gantry.sqlite'));
      copyFileSync(path.join(before.data, 'secret.keys'), path.join(other.data, 'secret.keys'));
      await other.kernel.start();
      const person = { name: 'ada', role: 'administrator', password: PASSWORD };
      await other.records.create('user', person, { name: 'test' });
      await other.kernel.stop();
      copyFileSync(path.join(other.data, 'gantry.sqlite'), path.join(before.data, 'gantry.sqlite'));
      const { kernel, records, away, back } = await server(before.data);
      away();
      await kernel.start();
      back();
      await until('the server is there', () => records.find('server', 'gantry') !== null);
      expect([records.find('user', 'admin'), told()]).to.deep.equal([null, []]);
    });
    it('a stop ends the waiting', async () => {
      const before = await server(undefined, false);
      await before.kernel.start();
      await before.kernel.stop();
      const { kernel, away, lines } = await server(before.data);
      away();
      await kernel.start();
      await kernel.stop();
      expect(lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
      expect(told()).to.deep.equal([]);
    });
    it('where only the answer was lost, the password of the first administrator is told nevertheless', async () => {
      const { kernel, odb, data } = await server();
      const { write: save } = odb;
      odb.write = async (...args) => {
        await save.apply(odb, args);
        throw new GantryError('ODB_UNAVAILABLE', 'The answer was lost');
      };
      const error = await kernel.start().then(
        () => null,
        (thrown: GantryError) => thrown,
      );
      expect(error?.code).to.equal('ODB_UNAVAILABLE');
      expect(told().join()).to.match(/may have been made/);
      const [, password = ''] = / {2}(\S{20})\n/.exec(told().join()) ?? [];
      const again = await server(data);
      await again.kernel.start();
      const hash = again.records.find('user', 'admin')?.definition['passwordHash'];
      expect(await again.kernel.cradle.passwords?.verify(password, String(hash))).to.equal(true);
    });
    it('the start waits for it once, where it is to put the server on record', async () => {
      const { kernel, odb, lines } = await server();
      const { find } = odb;
      let asked = 0;
      let written = 0;
      odb.find = (kind, name) => {
        if (kind !== 'server') return find.call(odb, kind, name);
        asked++;
        return gone();
      };
      const { write: save } = odb;
      odb.write = (writes, by) => {
        if (writes[0]?.kind === 'server') written++;
        return save.call(odb, writes, by);
      };
      await kernel.start();
      expect([asked, written]).to.deep.equal([1, 0]);
      expect(lines.some(({ msg }) => msg === 'this server could not be put on record')).to.equal(true);
    });
  });

  describe('the first administrator', () => {
    const data = folder();
    after(() => data.remove());

    /** A server as people start it. */
    const start = (env: Record<string, string>, config = 'config/default.yaml'): Running =>
      follow(
        spawn(process.execPath, ['dist/core/main.js', 'start', '--config', config], {
          cwd: home,
          env: { ...process.env, GANTRY_PORT: '0', GANTRY_ADMIN_PASSWORD: '', ...env },
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      );
    const urlOf = (running: Running) => /POST +(http:\S+)\/demo\/hello/.exec(running.out())?.[1] ?? '';
    const login = async (url: string, authorization: string) => {
      const headers = { authorization, 'content-type': 'application/json' };
      return (await fetch(`${url}/gantry/admin/gantry.user.list`, { method: 'POST', headers, body: '{}' })).status;
    };
    const PRINTED = /The first administrator is 'admin'; its password, shown only now, is {2}(\S+)\n/;

    it('is made once, with a password that is printed once and logged never', async () => {
      const env = { GANTRY_DATA: data.dir };
      const first = start(env);
      try {
        await first.says(/is ready/);
        const [, password = ''] = PRINTED.exec(first.out()) ?? [];
        expect(password).to.match(/^[\w-]{20}$/);
        expect(first.err()).to.include('the first administrator was made').and.to.not.include(password);
        expect(first.out().split(password)).to.have.lengthOf(2);
        await first.says(/demo\.hello/);
        expect(await login(urlOf(first), basic('admin', password))).to.equal(200);
        first.child.kill('SIGTERM');
        expect(await first.ended).to.equal(0);
        const second = start({ ...env, GANTRY_ADMIN_PASSWORD: 'another password' });
        try {
          await second.says(/is ready[\s\S]*demo\.hello/);
          expect(second.out()).to.not.include('administrator');
          expect(second.err()).to.not.include('administrator');
          expect(await login(urlOf(second), basic('admin', 'another password'))).to.equal(401);
          expect(await login(urlOf(second), basic('admin', password))).to.equal(200);
        } finally {
          await second.kill();
        }
      } finally {
        await first.kill();
      }
    });

    it('has the configured password, which is not printed', async () => {
      const own = folder();
      const password = 'S3CRET of this test';
      const server = start({ GANTRY_DATA: own.dir, GANTRY_ADMIN_PASSWORD: password });
      try {
        await server.says(/is ready[\s\S]*demo\.hello/);
        expect(server.out()).to.include("The first administrator is 'admin'");
        expect(server.out() + server.err()).to.not.include('S3CRET');
        expect(await login(urlOf(server), basic('admin', password))).to.equal(200);
      } finally {
        await server.kill();
        own.remove();
      }
    });

    it('with too short a password is not made: start and check say what to do, and nothing was made', async () => {
      const own = folder();
      const server = start({ GANTRY_DATA: own.dir, GANTRY_ADMIN_PASSWORD: 'S3CRET' });
      try {
        expect(await server.ended).to.equal(1);
        expect(server.err())
          .to.match(/^ +plugins\.feature\.admin\.adminPassword .*must have at least 8 characters$/m)
          .and.to.include('GANTRY_ADMIN_PASSWORD');
        expect(server.out() + server.err()).to.not.include('S3CRET');
        expect(readdirSync(own.dir)).to.deep.equal([]);
      } finally {
        await server.kill();
        own.remove();
      }
    });

    it('of servers that start at once on one database is made by one of them', async () => {
      const own = folder();
      const servers = ['one', 'two', 'three'].map((name) =>
        start({ GANTRY_DATA: own.dir, GANTRY_NAME: name }, 'config/server.yaml'),
      );
      try {
        await Promise.all(servers.map((server) => server.says(/is ready/)));
        const printed = servers.flatMap((server) => PRINTED.exec(server.out())?.[1] ?? []);
        expect(printed).to.have.lengthOf(1);
        const second = await adminServer({ data: own.dir, pollMs: 50 });
        try {
          const authorization = basic('admin', printed[0]);
          expect((await second.good('gantry.user.list', {}, authorization)).total).to.equal(1);
          const list = await second.good('gantry.server.list', {}, authorization);
          const names = list.items.map(({ name }: { name: string }) => name);
          expect(names).to.have.members(['one', 'two', 'three', 'server1']);
        } finally {
          await second.stop();
        }
      } finally {
        await Promise.all(servers.map((server) => server.kill()));
        own.remove();
      }
    });

    it('is not made where there is another user', async () => {
      const own = folder();
      const first = await adminServer({ data: own.dir });
      await first.good('gantry.user.create', { name: 'boss', role: 'administrator', password: PASSWORD });
      await first.good('gantry.user.remove', { name: 'admin' });
      await first.stop();
      const second = await adminServer({ data: own.dir });
      try {
        expect(first.printed).to.include('administrator');
        expect(second.printed).to.equal('');
        expect((await second.ask('gantry.user.list')).status).to.equal(401);
        expect((await second.good('gantry.user.list', {}, basic('boss'))).total).to.equal(1);
      } finally {
        await second.stop();
        own.remove();
      }
    });
  });
});
