import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import plugin from '../../../plugins/kv-redis/index.ts';
import { needs, redis } from '../../engines/index.ts';
import { counting, eventually, unavailable, worlds } from '../../engines/redis-outage.ts';
import { testKv } from '../../kit/kv.ts';

describe('kv.redis', function () {
  this.timeout(60_000);
  const engine = needs(redis);
  const access = () => {
    const { host, port, user: username, password } = engine();
    return { host, port, username, password };
  };

  const { created, serve, processes } = worlds(plugin as unknown as Plugin, access);

  describe('contract', () => {
    // With no more rights than the guide tells operators to give.
    before(async () => {
      const [line = ''] =
        /ACL SETUSER gantry .*/.exec(
          readFileSync(path.resolve(import.meta.dirname, '../../../docs/redis.md'), 'utf8'),
        ) ?? [];
      await engine().admin(line.replace('gantry', 'documented').replace(/>\S+/, '>documented'));
    });
    const documented = () => ({ ...access(), username: 'documented', password: 'documented' });
    testKv({ plugin: plugin as unknown as Plugin, config: documented, shared: true });
  });

  describe('a way to Redis', () => {
    const about = (config: object): string[] => {
      try {
        created({ ...config });
        return [];
      } catch (thrown) {
        expect(thrown).to.have.property('code', 'CONFIG_INVALID');
        return (thrown as { problems: { path: string }[] }).problems.map(({ path }) => path);
      }
    };
    const nodes = [{ host: 'a', port: 1 }];

    it('is one, and whole', () => {
      const at = (...keys: string[]) => keys.map((key) => `plugins.kv.redis.${key}`);
      expect(about({})).to.deep.equal([]);
      expect(about({ host: 'a', port: 1, username: 'u', password: 'p', db: 3 })).to.deep.equal([]);
      expect(about({ url: 'rediss://u:p%40@a:1/3', tls: { servername: 'a' } })).to.deep.equal([]);
      expect(about({ sentinels: [{ host: 'a' }], master: 'm', sentinelPassword: 'p', db: 1 })).to.deep.equal([]);
      expect(about({ cluster: [{ host: 'a' }, { host: 'b' }] })).to.deep.equal([]);
      expect(about({ url: 'redis://a', host: 'a' })).to.deep.equal(at('url'));
      expect(about({ cluster: nodes, sentinels: nodes, master: 'm' })).to.deep.equal(at('sentinels'));
      expect(about({ port: 1, cluster: nodes })).to.deep.equal(at('host and port'));
      expect(about({ sentinels: nodes })).to.deep.equal(at('master'));
      expect(about({ master: 'm' })).to.deep.equal(at('sentinels'));
      expect(about({ sentinelPassword: 'p' })).to.deep.equal(at('sentinels'));
      expect(about({ cluster: nodes, db: 1 })).to.deep.equal(at('db'));
      expect(about({ username: 'u' })).to.deep.equal(at('password'));
      expect(about({ url: 'redis://u:p@a/1', db: 1, password: 'p', tls: {} })).to.deep.equal(
        at('db', 'password', 'tls'),
      );
      expect(about({ tls: { ca: 'no certificate' } })).to.deep.equal(at('tls'));
      for (const url of ['a:1', 'http://a', 'redis://', 'redis://a/x', 'redis://a?b=c', 'redis://u@a', 'redis://a:b:c'])
        expect(about({ url }), url).to.deep.equal(at('url'));
    });

    it('is told without the password that is in it', () => {
      try {
        created({ url: 'http://user:very-secret@a' });
        expect.fail('it was taken');
      } catch (thrown) {
        const { problems, message, hint } = thrown as { problems: unknown; message: string; hint: string };
        expect(JSON.stringify([problems, message, hint])).to.not.include('very-secret');
      }
    });
  });

  describe('access', () => {
    it('is by url, to a database of its own, below its prefix, with a name', async () => {
      const { host, port, user, password } = engine();
      const db = await engine().database();
      const { kv } = await serve({ url: `redis://${user}:${password}@${host}:${port}/${db}`, prefix: 'mine:' });
      expect(kv.problem).to.equal(null);
      await kv.set('a', '1');
      await kv.acquire('b', 60_000);
      const [{ reply: names } = {}] = await engine().admin(`SELECT ${db}`, 'KEYS *');
      expect(names).to.have.members(['mine:k:a', 'mine:l:b']);
      const [clients] = await engine().admin('CLIENT LIST');
      expect(String(clients?.['reply'])).to.include('name=gantry:server_1:kv.redis');
    });

    it('with a wrong password is none: the server starts, and says what to mend', async () => {
      const { kv, lines } = await serve({ ...access(), password: 'wrong-secret' });
      expect(kv.problem).to.include({ code: 'KV_UNAVAILABLE', retryable: true });
      expect(kv.problem?.message).to.equal('The key-value store is not available');
      expect(kv.problem?.hint).to.match(/WRONGPASS.*mend username and password/);
      await unavailable(kv.get('a'));
      const told = lines();
      expect(told.map(({ level }) => level)).to.deep.equal(['warn']);
      expect(told[0]?.error?.hint).to.include('mend username and password');
      expect(JSON.stringify(told)).to.not.include('wrong-secret');
    });

    it('with too few rights says so', async () => {
      await engine().admin('ACL SETUSER reader on >reader ~* +@read +@connection +info +ping');
      const { kv } = await serve({ ...access(), username: 'reader', password: 'reader' });
      expect(await kv.get('nothing')).to.equal(null);
      const error = await unavailable(kv.set('a', '1'));
      expect(error.hint).to.match(/NOPERM.*ACL/);
      expect(kv.problem, 'it answers').to.equal(null);
    });

    it('to a database that is not there is none, and not one to another', async () => {
      const { kv } = await serve({ ...access(), db: 5000, prefix: 'nowhere:' });
      expect(kv.problem?.hint).to.match(/DB index is out of range.*mend db/);
      await unavailable(kv.set('a', '1'));
      expect(await engine().admin('KEYS nowhere:*')).to.deep.equal([{ reply: [] }]);
    });

    it('is by TLS, and the certificate is checked', async function () {
      const { ca, tlsPort } = engine();
      if (ca === null || tlsPort === null) return this.skip();
      const trusting = await serve({ ...access(), host: 'localhost', port: tlsPort, tls: { ca } });
      expect(trusting.kv.problem).to.equal(null);
      await trusting.kv.set('tls', '1');
      expect(await trusting.kv.get('tls')).to.equal('1');
      const { user, password } = engine();
      const byUrl = await serve({
        url: `rediss://${user}:${password}@127.0.0.1:${tlsPort}`,
        tls: { ca, servername: 'localhost' },
      });
      expect(byUrl.kv.problem).to.equal(null);
      expect(await byUrl.kv.get('tls')).to.equal('1');

      const wary = await serve({ ...access(), host: 'localhost', port: tlsPort, tls: {} });
      expect(wary.kv.problem?.hint).to.match(/certificate.*set tls\.ca/);
      const other = await serve({ ...access(), port: tlsPort, tls: { ca } });
      expect(other.kv.problem?.hint).to.match(/set tls\.servername/);
    });

    it('with TLS on one side alone is none, and says so', async function () {
      const { ca, tlsPort } = engine();
      if (ca === null || tlsPort === null) return this.skip();
      const plain = await serve({ ...access(), port: tlsPort });
      expect(plain.kv.problem?.hint).to.match(/does that port want TLS/);
      const encrypted = await serve({ ...access(), host: 'localhost', tls: { ca } });
      expect(encrypted.kv.problem?.hint).to.match(/A port without TLS does not answer to TLS/);
    });

    it('ends with the server: no connection is left', async () => {
      const { kv, kernel } = await serve({ ...access(), prefix: 'ends:' });
      await kv.set('a', '1');
      const [{ reply: clients } = {}] = await engine().admin('CLIENT LIST');
      expect(String(clients)).to.include('server_1');
      await kernel.stop();
      await eventually(async () => !String((await engine().admin('CLIENT LIST'))[0]?.['reply']).includes('server_1'));
      await unavailable(kv.get('a'));
    });
  });

  describe('fences', () => {
    it('grow though Redis lost all that it had', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port });
      let greatest = 0;
      for (let i = 0; i < 5; i++) {
        const fence = (await kv.acquire('a', 60_000)) as number;
        expect(fence).to.be.greaterThan(greatest);
        greatest = fence;
        await own.run('FLUSHALL');
        expect(await kv.renew('a', fence, 60_000), 'a lock that Redis forgot').to.equal(false);
      }
    });

    it('grow over what a clock that was ahead has given', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port, prefix: '' });
      const ahead = Date.now() * 1000 + 3_600_000_000;
      await own.run('HSET', 'l:a', 'fence', ahead, 'untilMs', 0);
      expect(await kv.acquire('a', 60_000)).to.equal(ahead + 1);
    });

    it('are forgotten a day after their lock, so that names leave nothing behind', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port, prefix: '' });
      const fence = (await kv.acquire('a', 60_000)) as number;
      expect(Number(await own.run('PTTL', 'l:a'))).to.be.within(86_400_000, 86_460_000);
      await kv.release('a', fence);
      expect(Number(await own.run('PTTL', 'l:a'))).to.be.within(86_000_000, 86_400_000);
    });
  });

  describe('while Redis is away', () => {
    it('a server starts, and has it when it comes', async () => {
      const own = await processes();
      await own.stop();
      const { kv, lines } = await serve({ port: own.port });
      expect(kv.problem?.hint).to.match(/ECONNREFUSED.*Start Redis/);
      await unavailable(kv.get('a'));
      await knocked(own.port, 4);
      await own.start();
      await eventually(() => kv.problem === null);
      expect(await kv.set('a', '1')).to.equal(true);
      expect(lines().map(({ level, msg }) => `${level} ${msg}`)).to.deep.equal([
        'warn The key-value store is not available; it is tried again and again',
        'info The key-value store is back',
      ]);
    });

    it('everything fails at once, problem tells, and it mends itself, with one line each', async () => {
      const own = await processes();
      const { kv, lines } = await serve({ port: own.port });
      for (let round = 1; round <= 2; round++) {
        await kv.set('a', String(round));
        await own.stop();
        const began = performance.now();
        for (let i = 0; i < 100; i++) {
          await unavailable(kv.get('a'));
          await unavailable(kv.increment('b'));
        }
        await unavailable(kv.list(''));
        await unavailable(kv.acquire('c', 1000));
        // With the limit of a command each, they would take 100 s.
        expect(performance.now() - began, 'ms for 202 of them').to.be.below(5000);
        expect(kv.problem).to.include({ code: 'KV_UNAVAILABLE' });
        await own.start();
        await eventually(() => kv.problem === null);
        expect(await kv.get('a')).to.equal(String(round));
        expect(await kv.get('b'), 'nothing was kept and done later').to.equal(null);
        expect(lines().map(({ level }) => level)).to.deep.equal(Array(round).fill(['warn', 'info']).flat());
      }
    });

    it('and hangs: each ends after its limit, then all fail at once, until it goes on', async () => {
      const own = await processes();
      const { kv, lines } = await serve({ port: own.port, commandTimeoutMs: 200 });
      await kv.set('a', '1');
      own.freeze();
      const first = await Promise.all(Array.from({ length: 20 }, () => unavailable(kv.get('a'))));
      expect(first[0]?.hint).to.match(/did not answer in 200 ms/);
      await eventually(() => kv.problem !== null);
      const began = performance.now();
      for (let i = 0; i < 200; i++) await unavailable(kv.get('a'));
      // With the limit of each they would take 40 s.
      expect(performance.now() - began, 'ms for 200 of them').to.be.below(4000);
      own.thaw();
      await eventually(() => kv.problem === null);
      expect(await kv.get('a')).to.equal('1');
      expect(lines().map(({ level }) => level)).to.deep.equal(['warn', 'info']);
    });

    it('and hangs: it is noticed though nobody asks for anything', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port, commandTimeoutMs: 100 });
      expect(kv.problem).to.equal(null);
      own.freeze();
      await eventually(() => kv.problem !== null);
      expect(kv.problem?.hint).to.match(/did not answer/);
      own.thaw();
      await eventually(() => kv.problem === null);
    });

    it('and hangs: a server starts and stops', async () => {
      const own = await processes();
      own.freeze();
      const { kv, kernel } = await serve({ port: own.port });
      expect(kv.problem).to.not.equal(null);
      await kernel.stop();
    });

    it('for a moment, between two commands: the next one finds it', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port });
      for (let i = 0; i < 5; i++) {
        await kv.set('a', String(i));
        await own.run('CLIENT', 'KILL', 'TYPE', 'normal');
        await eventually(async () => (await kv.get('a').catch(() => null)) === String(i));
      }
    });
  });

  describe('a command', () => {
    it('is not lost where it was answered, nor done twice, though Redis is killed again and again', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port });
      await counting(kv, async (enough) => {
        for (let i = 0; i < 3; i++) {
          await enough();
          await own.kill();
          await own.start();
          await eventually(() => kv.problem === null);
        }
      });
    });

    it('is not sent again where its connection broke', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port });
      await counting(kv, async (enough) => {
        for (let i = 0; i < 10; i++) {
          await enough();
          await own.run('CLIENT', 'KILL', 'TYPE', 'normal');
          await eventually(() => kv.problem === null);
        }
      });
    });

    it('has its answer though this process stood still for longer than the limit', async () => {
      const { kv } = await serve({ ...access(), commandTimeoutMs: 100 });
      await kv.set('still', '1');
      for (let i = 0; i < 5; i++) {
        const all = Array.from({ length: 5 }, () => kv.get('still'));
        // Sent first, so that the answer comes while nothing is read.
        await new Promise((resolve) => setImmediate(resolve));
        for (const end = performance.now() + 250; performance.now() < end; );
        expect(await Promise.all(all)).to.deep.equal(Array(5).fill('1'));
      }
      expect(kv.problem).to.equal(null);
    });

    it('is refused, and nothing goes, where the memory of Redis is full', async () => {
      const own = await processes();
      await own.run('CONFIG', 'SET', 'maxmemory', '4mb');
      const { kv } = await serve({ port: own.port });
      await kv.set('kept', '1');
      let error: { hint?: string } | null = null;
      for (let i = 0; i < 100 && error === null; i++)
        await kv.set(`big ${i}`, 'a'.repeat(100_000)).catch((thrown: { hint?: string }) => (error = thrown));
      expect(error).to.include({ code: 'KV_UNAVAILABLE' });
      expect((error as { hint?: string } | null)?.hint).to.match(/OOM.*maxmemory.*noeviction/);
      await unavailable(kv.swap('another', null, 'a'.repeat(100_000)));
      expect(await kv.get('kept')).to.equal('1');
      expect(kv.problem, 'it answers').to.equal(null);
      await kv.remove('big 0', 'big 1', 'big 2');
      expect(await kv.swap('another', null, 'a'.repeat(100_000))).to.equal(true);
    });

    it('goes on where Redis forgot the scripts', async () => {
      const own = await processes();
      const { kv } = await serve({ port: own.port });
      expect(await kv.increment('a')).to.equal(1);
      expect(await kv.increment('a')).to.equal(2);
      await own.run('SCRIPT', 'FLUSH');
      expect(await Promise.all([kv.increment('a'), kv.increment('a')])).to.have.members([3, 4]);
    });
  });
});

/** Waits until somebody has tried to connect that often, and sends each away. */
async function knocked(port: number, times: number): Promise<void> {
  let count = 0;
  const door = createServer((socket) => {
    count++;
    socket.on('error', () => {});
    socket.destroy();
  });
  await once(door.listen(port, '127.0.0.1'), 'listening');
  await eventually(() => count >= times);
  await once(door.close(), 'close');
}
