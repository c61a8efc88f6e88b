/** Who may call which service of the admin API: every caller on every service that is deployed. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { defineService, ROLES, Type } from '../../../core/api.ts';
import type { Role } from '../../../core/ports/index.ts';
import { type AdminServer, adminServer, basic, bearer, PASSWORD } from './server.ts';

/**
 * The least role for each verb of each noun, written by hand: a role that changes fails here, and so does a service that
 * nobody has thought about. docs/admin.md has it as a table.
 */
const TABLE: Readonly<Record<string, Readonly<Partial<Record<Role | 'public', string>>>>> = {
  openapi: { public: '(itself)' },
  session: { viewer: 'create end password' },
  server: {
    viewer: 'get health info list usage',
    operator: 'drain offline online restart weight',
    administrator: 'create remove update',
  },
  cluster: { viewer: 'rolling status wait', operator: 'cancelRoll roll' },
  balancer: { viewer: 'get list usage', administrator: 'create remove update' },
  service: { viewer: 'get list', developer: 'invoke' },
  channel: { viewer: 'get list usage', operator: 'toggle', developer: 'create remove update' },
  connection: { viewer: 'get list states usage', operator: 'ping toggle', developer: 'create remove update' },
  job: {
    viewer: 'get history list next overview usage',
    operator: 'run toggle',
    developer: 'backfill create remove update',
  },
  run: { viewer: 'dead get list', operator: 'bury cancel replay' },
  scheduler: { viewer: 'status', operator: 'pause resume' },
  module: { viewer: 'get history list status usage', administrator: 'create remove rollback update upload' },
  setting: { viewer: 'get list usage', developer: 'create remove update' },
  dictionary: { viewer: 'get list usage', developer: 'create remove update' },
  security: { viewer: 'get list usage', administrator: 'create remove update' },
  statistics: { viewer: 'busiest compare csv list slowCalls slowest trend' },
  audit: { operator: 'list' },
  user: { administrator: 'create get list remove update usage' },
  configuration: { administrator: 'apply export reseal', viewer: 'kinds' },
};

const EXPECTED: ReadonlyMap<string, Role | 'public'> = new Map(
  Object.entries(TABLE).flatMap(([noun, roles]) =>
    Object.entries(roles).flatMap(([role, verbs]) =>
      verbs
        .split(' ')
        .map((verb) => [verb === '(itself)' ? `gantry.${noun}` : `gantry.${noun}.${verb}`, role as Role] as const),
    ),
  ),
);

/** The table as docs/admin.md has it. */
function tableText(): string {
  const columns = ['public', ...ROLES] as const;
  const cell = (text: string | undefined) =>
    (text ?? '')
      .split(' ')
      .filter((verb) => verb !== '')
      .map((verb) => (verb === '(itself)' ? 'yes' : `\`${verb}\``))
      .join(', ');
  const rows = Object.entries(TABLE).map(([noun, roles]) => [
    `\`gantry.${noun}\``,
    ...columns.map((role) => cell(roles[role])),
  ]);
  const titles = ['', 'everybody', ...ROLES];
  return [titles, titles.map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`.replace(/ {2,}/g, ' '))
    .join('\n');
}

describe('services/admin: permissions', () => {
  let server: AdminServer;

  before(async () => {
    server = await adminServer({ config: { 'scheduler.agenda': {} } });
    for (const role of ROLES) await server.good('gantry.user.create', { name: `a ${role}`, role, password: PASSWORD });
    const inactive = { name: 'inactive', role: 'administrator', password: PASSWORD, active: false };
    await server.good('gantry.user.create', inactive);
    await server.good('gantry.user.create', { name: 'gone', role: 'administrator', password: PASSWORD });
    await server.good('gantry.user.create', { name: 'ended', role: 'administrator', password: PASSWORD });
  });
  after(() => server.stop());

  const exposed = () => {
    const { services } = server.kernel.cradle;
    return services.names().filter((name) => services.find(name)?.attributes?.['admin'] !== undefined);
  };

  /**
   * Whether the caller is let in. The input is one that nothing comes of: it is not valid, or changes nothing that
   * another call is about.
   */
  const isLetIn = async (service: string, authorization: string | null): Promise<boolean> => {
    const attributes = server.kernel.cradle.services.find(service)?.attributes ?? {};
    const { method = 'POST', path: own = service } = attributes['admin'] as { method?: string; path?: string };
    const reply = await fetch(`${server.url}/gantry/admin/${own}`, {
      method,
      headers: { 'content-type': 'application/json', ...(authorization === null ? {} : { authorization }) },
      ...(method === 'GET' ? {} : { body: '{}' }),
    });
    const text = await reply.text();
    // What is let in may be answered in another format.
    const isJson = /json/.test(reply.headers.get('content-type') ?? '');
    const { code } = (isJson ? JSON.parse(text) : {}) as { code?: string };
    if (reply.status === 401) {
      expect(reply.headers.get('www-authenticate'), service).to.match(/^Basic .*Bearer /);
      expect(code).to.equal(authorization === null ? 'AUTH_MISSING' : 'AUTH_REJECTED');
      return false;
    }
    if (reply.status === 403) {
      // A password is not changed by a session: that is the service's own word.
      const inside = service === 'gantry.session.password' && code === 'FORBIDDEN';
      expect(inside || code === 'AUTH_FORBIDDEN', `${service}: ${code}`).to.equal(true);
      return inside;
    }
    expect([200, 400, 404, 409], `${service}: ${reply.status} ${code}`).to.include(reply.status);
    return true;
  };
  const letIn = async (authorization: () => string | null): Promise<string[]> => {
    const found: string[] = [];
    for (const service of exposed()) if (await isLetIn(service, authorization())) found.push(service);
    return found.sort();
  };
  const withAtMost = (role: Role | 'public') => {
    const enough = (needed: Role | 'public') =>
      needed === 'public' || (role !== 'public' && ROLES.indexOf(needed) <= ROLES.indexOf(role));
    return [...EXPECTED].flatMap(([service, needed]) => (enough(needed) ? [service] : [])).sort();
  };
  const token = (user: string, ms = 60_000) => server.kernel.cradle.sessions.open(user, ms).token;

  it('are written down for each service that is deployed', () => {
    const roles = exposed().map((name) => {
      const admin = server.kernel.cradle.services.find(name)?.attributes?.['admin'] as { role: string };
      return [name, admin.role];
    });
    expect(Object.fromEntries(roles)).to.deep.equal(Object.fromEntries(EXPECTED));
  });

  it('are written down in docs/admin.md', () => {
    const guide = readFileSync(path.resolve(import.meta.dirname, '../../../docs/admin.md'), 'utf8');
    const found = /<!-- roles -->\n\n([\s\S]*?)\n\n<!-- end -->/.exec(guide)?.[1] ?? '';
    expect(found, `the table of docs/admin.md has to be\n\n${tableText()}\n\n`).to.equal(tableText());
  });

  for (const role of ROLES) {
    it(`let a user with the role ${role} in by password exactly where that is enough`, async () => {
      expect(await letIn(() => basic(`a ${role}`))).to.deep.equal(withAtMost(role));
    });
    it(`let a user with the role ${role} in by session exactly where that is enough`, async () => {
      // A new one for each call, since one of them ends all sessions.
      expect(await letIn(() => bearer(token(`a ${role}`)))).to.deep.equal(withAtMost(role));
    });
  }

  const nobodies: Readonly<Record<string, () => Promise<() => string | null>>> = {
    nobody: async () => () => null,
    'a wrong password': async () => () => basic('a administrator', 'not the password'),
    'an empty password': async () => () => basic('a administrator', ''),
    'a user that there is not': async () => () => basic('stranger'),
    'a user that is switched off': async () => () => basic('inactive'),
    'the session of a user that is switched off': async () => () => bearer(token('inactive')),
    'a session that was ended': async () => {
      const before = token('ended');
      await server.good('gantry.session.end', {}, bearer(before));
      return () => bearer(before);
    },
    'a session whose time is over': async () => {
      const brief = token('a administrator', 1);
      await wait(5);
      return () => bearer(brief);
    },
    'the password and session of a user that was removed': async () => {
      const before = token('gone');
      await server.good('gantry.user.remove', { name: 'gone' });
      let turn = 0;
      return () => (turn++ % 2 === 0 ? bearer(before) : basic('gone'));
    },
    'a session that was forged': async () => {
      const [prefix, claims = ''] = token('a viewer').split('.');
      const read = JSON.parse(Buffer.from(claims, 'base64url').toString()) as object;
      const more = Buffer.from(JSON.stringify({ ...read, user: 'a administrator' })).toString('base64url');
      const signature = token('a administrator').split('.')[2];
      return () => bearer(`${prefix}.${more}.${signature}`);
    },
    'another scheme': async () => () => 'Digest username="a administrator"',
    'a password as a token': async () => () => bearer(PASSWORD.replaceAll(' ', '')),
  };
  for (const [who, prepare] of Object.entries(nobodies)) {
    it(`let ${who} in nowhere but where everybody is`, async () => {
      expect(await letIn(await prepare())).to.deep.equal(withAtMost('public'));
    });
  }

  it('follow a changed role at once, also for a session', async () => {
    const user = { name: 'climber', role: 'viewer', password: PASSWORD };
    await server.good('gantry.user.create', user);
    const session = bearer(token('climber'));
    const statuses = async () => {
      const asked = [basic('climber'), session].map((who) => server.ask('gantry.user.list', {}, who));
      return (await Promise.all(asked)).map(({ status }) => status);
    };
    expect(await statuses()).to.deep.equal([403, 403]);
    await server.good('gantry.user.update', { name: 'climber', version: 1, changes: { role: 'administrator' } });
    expect(await statuses()).to.deep.equal([200, 200]);
    await server.good('gantry.user.update', { name: 'climber', version: 2, changes: { role: 'operator' } });
    expect(await statuses()).to.deep.equal([403, 403]);
  });

  describe('cannot be got around', () => {
    const developer = basic('a developer');
    const door = (service: string) => ({
      name: 'back door',
      transport: 'rest',
      address: { method: 'POST', path: '/back-door' },
      service,
    });

    for (const service of ['gantry.user.create', 'gantry.configuration.apply', 'gantry.server.info']) {
      it(`by a channel of a developer's that leads to ${service}`, async () => {
        const refused = await server.ask('gantry.channel.create', door(service), developer);
        expect([refused.status, refused.body.code]).to.deep.equal([403, 'FORBIDDEN']);
        const { version } = await server.good('gantry.channel.create', door('demo.hello'), developer);
        const changes = { service };
        const moved = await server.ask('gantry.channel.update', { name: 'back door', version, changes }, developer);
        expect(moved.status).to.equal(403);
        await server.good('gantry.channel.remove', { name: 'back door' });
      });
    }

    it("by a developer's channel that has the name of one of the admin API", async () => {
      const name = 'gantry.admin/gantry.session.create';
      const address = { method: 'POST', path: '/trap' };
      const taken = await server.ask('gantry.channel.create', { ...door('demo.hello'), name, address }, developer);
      expect([taken.status, taken.body.code]).to.deep.equal([409, 'CHANNEL_DUPLICATE']);
      expect((await server.ask('gantry.session.create', {}, developer)).status).to.equal(200);
      // One that is switched off is no channel, and its removal takes none away.
      const off = { ...door('demo.hello'), name, address, active: false };
      await server.good('gantry.channel.create', off, developer);
      const on = await server.ask('gantry.channel.toggle', { name, version: 1, active: true }, developer);
      expect(on.status).to.equal(409);
      await server.good('gantry.channel.remove', { name }, developer);
      expect((await server.ask('gantry.session.create', {}, developer)).status).to.equal(200);
      // All at once nothing is tried out together with what makes room; it is refused where it would take effect.
      const records = [{ kind: 'channel', definition: { ...door('demo.hello'), name, address } }];
      await server.ask('gantry.configuration.apply', { records });
      expect((await server.ask('gantry.session.create', {}, developer)).status).to.equal(200);
      await server.ask('gantry.channel.remove', { name });
      expect((await server.ask('gantry.session.create', {}, developer)).status).to.equal(200);
    });

    it('by a developer who takes the guard from a channel that an administrator made', async () => {
      const made = { ...door('gantry.server.info'), security: { guard: 'users', role: 'administrator' } };
      await server.good('gantry.channel.create', made);
      const input = { name: 'back door', version: 1, changes: { security: null } };
      expect((await server.ask('gantry.channel.update', input, developer)).status).to.equal(403);
      const reply = await fetch(`${server.url}/back-door`, { method: 'POST', headers: { authorization: developer } });
      expect(reply.status).to.equal(403);
      expect((await server.ask('gantry.channel.update', input)).status).to.equal(200);
      await server.good('gantry.channel.remove', { name: 'back door' });
    });

    it('by who may switch channels on and off: a door to the admin API can be shut, not opened', async () => {
      const made = { ...door('gantry.server.info'), active: false };
      await server.good('gantry.channel.create', made);
      const toggle = (version: number, active: boolean, who?: string) =>
        server.ask('gantry.channel.toggle', { name: 'back door', version, active }, who);
      for (const who of [developer, basic('a operator')]) {
        const refused = await toggle(1, true, who);
        expect([refused.status, refused.body.code]).to.deep.equal([403, 'FORBIDDEN']);
      }
      expect((await toggle(1, true)).status).to.equal(200);
      expect((await toggle(2, false, basic('a operator'))).status).to.equal(200);
      await server.good('gantry.channel.remove', { name: 'back door' });
      await server.good('gantry.channel.create', { ...door('demo.hello'), active: false }, developer);
      expect((await toggle(1, true, basic('a operator'))).status).to.equal(200);
      await server.good('gantry.channel.remove', { name: 'back door' });
    });

    it('by a developer who changes a channel in the moment in which an administrator does', async () => {
      await server.good('gantry.channel.create', door('demo.hello'), developer);
      const { records } = server.kernel.cradle;
      const mutable = records as { get: typeof records.get };
      const { get } = records;
      const made = { service: 'gantry.server.info', security: { guard: 'users', role: 'administrator' } };
      mutable.get = async (kind, name) => {
        const read = await get.call(records, kind, name);
        mutable.get = get;
        await records.update('channel', 'back door', 1, made, { name: 'an administrator' });
        return read;
      };
      const input = { name: 'back door', version: 2, changes: { security: null } };
      const late = await server.ask('gantry.channel.update', input, developer);
      expect([late.status, late.body.code]).to.deep.equal([409, 'RECORD_STALE']);
      const reply = await fetch(`${server.url}/back-door`, { method: 'POST' });
      expect(reply.status).to.equal(401);
      await server.good('gantry.channel.remove', { name: 'back door' });
    });

    it("by a developer's job, or a module", async () => {
      const payload = { name: 'x', role: 'administrator', password: PASSWORD };
      const job = { name: 'x', service: 'gantry.user.create', schedule: { everyMs: 1000 }, payload };
      expect((await server.ask('gantry.job.create', job, developer)).status).to.equal(403);
      const module = { name: 'x', language: 'typescript', source: '1' };
      expect((await server.ask('gantry.module.create', module, developer)).status).to.equal(403);
      expect((await server.ask('gantry.module.upload', { file: 'x.ts', source: '1' }, developer)).status).to.equal(403);
    });

    it('by trying an admin service out', async () => {
      const input = { name: 'x', role: 'administrator', password: PASSWORD };
      for (const who of [developer, basic('admin')]) {
        const refused = await server.ask('gantry.service.invoke', { name: 'gantry.user.create', input }, who);
        expect([refused.status, refused.body.code]).to.deep.equal([403, 'FORBIDDEN']);
      }
      expect((await server.ask('gantry.user.get', { name: 'x' })).status).to.equal(404);
    });

    it('by another method, or another writing of the path', async () => {
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'HEAD']) {
        const reply = await fetch(`${server.url}/gantry/admin/gantry.user.list`, { method });
        expect([404, 405], method).to.include(reply.status);
      }
      for (const own of [
        '/gantry/admin/gantry.user.list/',
        '/gantry//admin/gantry.user.list',
        '/gantry/admin/gantry%2Euser.list',
      ]) {
        const reply = await fetch(`${server.url}${own}`, { method: 'POST', body: '{}' });
        expect([401, 404], own).to.include(reply.status);
      }
    });

    it('by a service that is deployed with another role: it is the newest that counts', async () => {
      const own = (role: string | null) =>
        defineService({
          name: 'acme.shifting',
          ...(role === null ? {} : { attributes: { admin: { role } } }),
          input: Type.Object({}),
          output: Type.Object({}),
          create: () => () => ({}),
        });
      const { services } = server.kernel.cradle;
      const status = async () => (await server.ask('acme.shifting', {}, basic('a viewer'))).status;
      try {
        services.deploy(own('viewer'));
        expect(await status()).to.equal(200);
        services.deploy(own('administrator'));
        expect(await status()).to.equal(403);
        services.deploy(own(null));
        expect(await status()).to.equal(404);
        services.deploy(own('viewer'));
        expect(await status()).to.equal(200);
        services.deploy(own('everyone, please'));
        expect(await status()).to.equal(404);
      } finally {
        services.retire('acme.shifting');
      }
    });
  });
});
