/** The database goes away while a server runs, before it starts, and in the middle of changes. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { needs, ownMariadb, ownPostgres } from '../engines/index.ts';
import { channel, databaseOf, type Installation, installation, load, SQLITE, type Store } from './installation.ts';

/** The whole of a trial takes minutes: `GANTRY_TEST_LONG=1`. */
const LONG = process.env['GANTRY_TEST_LONG'] === '1';
const AWAY_MS = LONG ? 20_000 : 3000;

const ENGINES = [
  { name: 'PostgreSQL', engine: ownPostgres },
  { name: 'MariaDB', engine: ownMariadb },
];

async function until(what: string, holds: () => unknown, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (await holds()) return;
    await wait(50);
  }
  expect.fail(`not within ${ms} ms: ${what}`);
}

for (const { name, engine } of ENGINES) {
  describe(`a server whose database is ${name}`, function () {
    this.timeout(LONG ? 300_000 : 120_000);
    const database = needs(engine);
    let server: Installation;

    beforeEach(async () => {
      server = await installation(await databaseOf(database()));
    });
    afterEach(async () => {
      await database().start();
      await server.end();
    });

    for (const away of ['stopped', 'frozen'] as const) {
      it(`serves every call while the database is ${away}, refuses changes, and recovers by itself`, async () => {
        await server.start();
        expect((await server.ask('channel.create', channel('c'))).status).to.equal(200);
        const calls = load(`${server.url}/c`);
        await wait(300);
        if (away === 'stopped') await database().stop();
        else database().freeze();
        const before = calls.answered;
        const refused = await server.ask('channel.create', channel('d'));
        expect([refused.status, refused.body['code']]).to.deep.equal([503, 'ODB_UNAVAILABLE']);
        await wait(AWAY_MS);
        const info = (await server.ask('server.info')).body['records'] as Record<string, unknown>;
        expect([info['source'], typeof info['staleSince'], typeof info['problem']]).to.deep.equal([
          'database',
          'string',
          'string',
        ]);
        const health = (await server.ask('server.health')).body;
        expect(health['healthy']).to.equal(false);
        const up = async () =>
          /^gantry_database_up (.*)$/m.exec(await (await fetch(`${server.url}/gantry/metrics`)).text())?.[1];
        expect(await up()).to.equal('0');
        expect(calls.answered, 'answered meanwhile').to.be.greaterThan(before);
        if (away === 'stopped') await database().start();
        else database().thaw();
        // What was refused was not done, or is told as done: it is not half there.
        let created = 0;
        await until('changes are taken again', async () => {
          ({ status: created } = await server.ask('channel.create', channel('e')));
          return created === 200 || created === 409;
        });
        await until('the server knows', async () => (await server.ask('server.health')).body['healthy'] === true);
        expect(await up()).to.equal('1');
        const { answered, failed } = await calls.stop();
        expect(failed).to.deep.equal([]);
        process.stderr.write(`      ${name} ${away} for ${AWAY_MS} ms under load: ${answered} answered, 0 failed\n`);
        expect((await fetch(`${server.url}/e`, { method: 'POST', body: '1' })).status).to.equal(200);
        expect(await server.stop()).to.equal(0);
      });
    }

    it('starts with its last known good state while the database is away, says so, and catches up', async () => {
      await server.start();
      await server.ask('channel.create', channel('c'));
      await server.stop();
      await database().stop();
      const again = await server.start();
      expect(again.err()).to.include('starting with the last known good state');
      expect(again.out()).to.not.include('administrator');
      expect((await fetch(`${server.url}/c`, { method: 'POST', body: '1' })).status).to.equal(200);
      const info = (await server.ask('server.info')).body['records'] as Record<string, unknown>;
      expect([info['source'], typeof info['staleSince']]).to.deep.equal(['snapshot', 'string']);
      expect((await server.ask('channel.create', channel('d'))).status).to.equal(503);
      await database().start();
      await until('it catches up', async () => {
        const { records } = (await server.ask('server.info')).body as { records: { source: string } };
        return records.source === 'database';
      });
      expect((await server.ask('channel.create', channel('d'))).status).to.equal(200);
    });

    it('does not start without database and state, and tells which one is not there', async () => {
      await database().stop();
      const first = server.launch();
      expect(await first.ended).to.equal(1);
      expect(first.err()).to.match(/no last known good state/);
      expect(
        first
          .err()
          .split('\n')
          .filter((line) => line.startsWith('    at ')),
      ).to.deep.equal([]);
    });

    it('does not start with a state that was changed, and tells what to do', async () => {
      await server.start();
      await server.ask('channel.create', channel('c'));
      await server.stop();
      await database().stop();
      const file = path.join(server.data, 'snapshot.jsonl');
      writeFileSync(file, readFileSync(file, 'utf8').replace('"/c"', '"/x"'));
      const again = server.launch();
      expect(await again.ended).to.equal(1);
      expect(again.err()).to.include('snapshot.jsonl');
      rmSync(file);
    });
  });
}

const KILLED: readonly { name: string; store: (() => Promise<Store>) | null; engine: typeof ownPostgres | null }[] = [
  { name: 'SQLite', store: async () => SQLITE, engine: null },
  { name: 'PostgreSQL', store: null, engine: ownPostgres },
  { name: 'MariaDB', store: null, engine: ownMariadb },
];

for (const { name, store, engine } of KILLED) {
  describe(`a server that is killed in the middle of changes (${name})`, function () {
    this.timeout(180_000);
    const database = engine === null ? null : needs(engine);
    let server: Installation;
    after(() => server?.end());

    it('has all that it acknowledged, and nothing by halves', async () => {
      server = await installation(
        database === null ? await (store as () => Promise<Store>)() : await databaseOf(database()),
      );
      await server.start();
      const acknowledged = new Map<string, number>();
      const total = LONG ? 1000 : 300;
      let next = 0;
      const work = async () => {
        while (next < total) {
          const own = `k${next++}`;
          // Each with a field, a reference's target, a claim and a line of the change log.
          const { status, body } = await server.ask('channel.create', channel(own));
          if (status !== 200) return;
          acknowledged.set(own, Number(body['revision']));
        }
      };
      const workers = Array.from({ length: 4 }, () => work().catch(() => {}));
      await until('some are acknowledged', () => acknowledged.size >= total / 2);
      await server.stop('SIGKILL');
      await Promise.all(workers);
      await server.start();
      const kept = new Set<string>();
      let after: unknown;
      do {
        const { body } = await server.ask('channel.list', { limit: 1000, ...(after === undefined ? {} : { after }) });
        for (const one of body['items'] as { name: string }[]) kept.add(one.name);
        after = body['next'] ?? undefined;
      } while (after !== undefined);
      expect([...acknowledged.keys()].filter((own) => !kept.has(own))).to.deep.equal([]);
      // Not acknowledged, and there or not: but then with all that belongs to it.
      const audit = await server.ask('audit.list', { kind: 'channel', action: 'create', limit: 1000 });
      const logged = (audit.body['items'] as { name: string }[]).map((one) => one.name);
      expect(new Set(logged)).to.deep.equal(kept);
      for (const own of kept) {
        expect((await fetch(`${server.url}/${own}`, { method: 'POST', body: '1' })).status, own).to.equal(200);
        break;
      }
      const again = await server.ask(
        'channel.create',
        channel(`other`, { address: { method: 'POST', path: `/${[...kept][0]}` } }),
      );
      expect(again.status, 'an address that is claimed').to.equal(409);
      const revisions = (audit.body['items'] as { revision: number }[])
        .map((one) => one.revision)
        .sort((a, b) => a - b);
      expect(revisions.every((revision, i) => i === 0 || revision > (revisions[i - 1] as number))).to.equal(true);
      process.stderr.write(`      ${name}: ${acknowledged.size} acknowledged before kill -9, ${kept.size} there\n`);
    });
  });
}
