import { expect } from 'chai';
import { type GantryError, isGantryError } from '../../../core/api.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Passwords } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../plugins/password-argon2/index.ts';
import { testPasswords } from '../../kit/password.ts';

const ID = 'password.argon2';
/** A check of a tenth of a millisecond, for what is not about its cost. */
const CHEAP = { memoryKiB: 64, iterations: 1 };
const SALT = 'c29tZXNhbHRzb21lc2FsdA';
const DIGEST = 'A'.repeat(43);

describe(ID, () => {
  testPasswords({
    plugin,
    unreadable: [
      '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy',
      `$argon2id$v=19$m=19456,t=2,p=1$${SALT}`,
      `$argon2id$v=19$m=19456,t=2,p=1$${SALT}$`,
      `$argon2id$v=19$m=19456,t=2,p=1$$${DIGEST}`,
      `$argon2id$v=19$m=many,t=2,p=1$${SALT}$${DIGEST}`,
      `$argon2id$v=19$m=4,t=2,p=1$${SALT}$${DIGEST}`,
      ` $argon2id$v=19$m=64,t=1,p=1$${SALT}$${DIGEST}`,
      `$argon2id$v=19$m=64,t=1,p=1$${SALT}$${DIGEST}\n`,
    ],
  });

  describe('hashes', () => {
    it('are Argon2id with the cost of the config; by default, what OWASP recommends', async () => {
      expect(await made({}).hash('x')).to.match(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
      const dear = await made({ memoryKiB: 128, iterations: 3, parallelism: 2 }).hash('x');
      expect(dear).to.match(/^\$argon2id\$v=19\$m=128,t=3,p=2\$/);
    });

    it('of another cost, and of another kind of Argon2, are still checked', async () => {
      const passwords = made(CHEAP);
      const others = [
        await made({ memoryKiB: 256, iterations: 4, parallelism: 2 }).hash('open sesame'),
        // Argon2i of 'password' with the salt 'somesalt': a test vector of the reference implementation.
        '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8',
      ];
      expect(await passwords.verify('open sesame', others[0] as string)).to.equal(true);
      expect(await passwords.verify('password', others[1] as string)).to.equal(true);
      expect(await passwords.verify('passwort', others[1] as string)).to.equal(false);
    });

    it('are not made of an empty password, one of more than 1,000 bytes, or half a character', async () => {
      const passwords = made(CHEAP);
      for (const password of ['', 'x'.repeat(1001), 'ü'.repeat(501), '\u{1f511}'.repeat(251), 'a\ud83d']) {
        const error = await refusal(passwords.hash(password));
        expect(error).to.include({ code: 'RECORD_INVALID', kind: 'invalid' });
        expect(error.message).to.match(/^The password (is empty|is longer than 1000 bytes|has half a character)$/);
      }
      for (const password of ['x', 'x'.repeat(1000), 'ü'.repeat(500), '\u{1f511}'.repeat(250)]) {
        expect(await passwords.verify(password, await passwords.hash(password))).to.equal(true);
      }
    });

    it('are of the letters, whichever way they are composed', async () => {
      const passwords = made(CHEAP);
      const [one, two] = ['J\u00fcrgen', 'Ju\u0308rgen'];
      expect(await passwords.verify(two, await passwords.hash(one))).to.equal(true);
      const other = await passwords.hash(two);
      expect(await passwords.verify(one, other)).to.equal(true);
      expect(passwords.verify(two, other), 'and remembered as one').to.equal(true);
    });

    it('are made one after the other, and none is turned away', async () => {
      const passwords = made({ ...CHEAP, parallel: 1, waiting: 0 });
      const all = await Promise.all(Array.from({ length: 50 }, (_, i) => passwords.hash(`p${i}`)));
      expect(new Set(all).size).to.equal(50);
    });

    it('that would take minutes are not computed', async () => {
      const passwords = made(CHEAP);
      for (const cost of ['m=4194304,t=1,p=1', 'm=4294967295,t=1,p=1', 'm=2097152,t=3,p=1', 'm=64,t=4294967295,p=1']) {
        const error = await refusal(passwords.verify('x', `$argon2id$v=19$${cost}$${SALT}$${DIGEST}`));
        expect(error.code, cost).to.equal('SECRET_UNREADABLE');
      }
    });
  });

  describe('what was right', () => {
    it('is found right only after it was checked', async () => {
      const passwords = made(CHEAP);
      const hash = await passwords.hash('open sesame');
      expect(passwords.verify('open sesame', hash)).to.be.instanceOf(Promise);
      await passwords.verify('open sesame', hash);
      expect(passwords.verify('open sesame', hash)).to.equal(true);
    });

    it('is forgotten some time after its last use', async () => {
      const clock = stopped();
      try {
        const passwords = made({ ...CHEAP, cacheMs: 1000 });
        const hash = await passwords.hash('open sesame');
        await passwords.verify('open sesame', hash);
        for (let i = 0; i < 3; i++) {
          clock.forward(999);
          expect(passwords.verify('open sesame', hash)).to.equal(true);
        }
        clock.forward(1000);
        const answer = passwords.verify('open sesame', hash);
        expect(answer).to.be.instanceOf(Promise);
        expect(await answer).to.equal(true);
      } finally {
        clock.restore();
      }
    });

    it('drives out what was not used for longest, where there is no more room', async () => {
      const passwords = made({ ...CHEAP, cacheSize: 3 });
      const hash = await Promise.all(['a', 'b', 'c', 'd'].map((p) => passwords.hash(p)));
      const verify = (i: number) => passwords.verify('abcd'[i] as string, hash[i] as string);
      for (const i of [0, 1, 2]) await verify(i);
      expect(verify(0)).to.equal(true);
      await verify(3);
      for (const i of [0, 2, 3]) expect(verify(i), `${i}`).to.equal(true);
      expect(verify(1)).to.be.instanceOf(Promise);
    });

    it('is not driven out by guesses', async () => {
      const passwords = made({ ...CHEAP, cacheSize: 1 });
      const hash = await passwords.hash('open sesame');
      await passwords.verify('open sesame', hash);
      for (let i = 0; i < 20; i++) {
        await passwords.verify(`guess ${i}`, hash);
        await passwords.verify(`guess ${i}`, null);
      }
      expect(passwords.verify('open sesame', hash)).to.equal(true);
    });

    it('is not remembered at all where there is no room for it', async () => {
      const passwords = made({ ...CHEAP, cacheSize: 0 });
      const hash = await passwords.hash('open sesame');
      await passwords.verify('open sesame', hash);
      expect(passwords.verify('open sesame', hash)).to.be.instanceOf(Promise);
    });
  });

  describe('guesses', () => {
    it('are checked, wait or are turned away, by number', async () => {
      const passwords = made({ ...CHEAP, parallel: 2, waiting: 3 });
      const hash = await passwords.hash('open sesame');
      const wave = Array.from({ length: 8 }, (_, i) => passwords.verify(`guess ${i}`, hash));
      const ends = await Promise.allSettled(wave);
      expect(ends.map((end) => end.status)).to.deep.equal([
        ...Array.from({ length: 5 }, () => 'fulfilled'),
        ...Array.from({ length: 3 }, () => 'rejected'),
      ]);
      const again = Array.from({ length: 5 }, (_, i) => passwords.verify(`guess ${i}`, hash));
      expect(await Promise.all(again)).to.deep.equal([false, false, false, false, false]);
    });

    it('that are the same take one place while they are checked, without a hash too', async () => {
      const passwords = made({ ...CHEAP, parallel: 1, waiting: 0 });
      const hash = await passwords.hash('open sesame');
      for (const against of [hash, null]) {
        const same = Array.from({ length: 10 }, () => passwords.verify('guess', against));
        expect(new Set(same).size).to.equal(1);
        expect((await refusal(passwords.verify('another guess', against))).code).to.equal('SERVER_BUSY');
        expect(await Promise.all(same)).to.deep.equal(Array.from({ length: 10 }, () => false));
        expect(passwords.verify('guess', against), 'after it').to.be.instanceOf(Promise).and.not.equal(same[0]);
        await passwords.verify('guess', against);
      }
    });

    it('that were turned away are checked the next time', async () => {
      const passwords = made({ ...CHEAP, parallel: 1, waiting: 0 });
      const hash = await passwords.hash('open sesame');
      const first = passwords.verify('guess', hash);
      expect((await refusal(passwords.verify('open sesame', hash))).code).to.equal('SERVER_BUSY');
      await first;
      expect(await passwords.verify('open sesame', hash)).to.equal(true);
    });

    it('that no password can be are checked all the same', async () => {
      const passwords = made({ ...CHEAP, parallel: 1, waiting: 0 });
      const hash = await passwords.hash('a\ufffd');
      for (const guess of ['', 'x'.repeat(100_000), 'a\ud83d']) {
        const answer = passwords.verify(guess, hash);
        expect((await refusal(passwords.verify('open sesame', hash))).code, 'its place').to.equal('SERVER_BUSY');
        expect(await answer).to.equal(false);
      }
    });
  });

  describe('config', () => {
    it('is refused where its cost is none', () => {
      for (const config of [
        { memoryKiB: 16, parallelism: 4 },
        { memoryKiB: 4_194_304 },
        { memoryKiB: 2_097_152, iterations: 3 },
      ]) {
        expect(() => made(config), JSON.stringify(config))
          .to.throw()
          .with.property('code', 'CONFIG_INVALID');
      }
    });

    it('that is cheaper than recommended starts with a warning, and the default without', async () => {
      for (const [config, warned] of [
        [CHEAP, true],
        [{ memoryKiB: 19_456, iterations: 1 }, true],
        [{ memoryKiB: 7168, iterations: 5 }, false],
        [{}, false],
      ] as const) {
        const lines: string[] = [];
        const logs = new Logs({ level: 'warn', to: { write: (line) => void lines.push(line) } });
        const kernel = await new Process({ logs }).create([{ id: ID, plugin, config }]).start();
        await kernel.stop();
        expect(
          lines.some((line) => line.includes('OWASP')),
          JSON.stringify(config),
        ).to.equal(warned);
      }
    });
  });
});

function made(config: Record<string, unknown>): Passwords {
  return new Process({ logs: new Logs({ level: 'silent' }) }).create([{ id: ID, plugin, config }]).cradle.passwords;
}

async function refusal(answer: unknown): Promise<GantryError> {
  const end = await Promise.resolve(answer).catch((error: unknown) => error);
  if (isGantryError(end)) return end;
  throw new Error(`It was answered, or rejected with what is no GantryError: ${String(end)}`);
}

/** The clock that the cache reads, moved by hand. */
function stopped(): { forward(ms: number): void; restore(): void } {
  const { now } = performance;
  let at = now.call(performance);
  performance.now = () => at;
  return {
    forward: (ms) => void (at += ms),
    restore: () => void (performance.now = now),
  };
}
