/** The contract kit of the password port: every promise of core/ports/password.ts. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Plugin } from '../../core/cradle.ts';
import { type GantryError, isGantryError } from '../../core/errors.ts';
import { Logs } from '../../core/log/log.ts';
import type { Passwords } from '../../core/ports/password.ts';
import { Process } from '../../core/process.ts';

export interface PasswordKit {
  readonly plugin: Plugin;
  /** Such that a check takes a few milliseconds at least: else what it costs cannot be compared. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Texts that are no hash of this plugin's; some are always tried. */
  readonly unreadable?: readonly string[];
  /** More wrong guesses at once than it has room for. Default 500. */
  readonly flood?: number;
}

const RIGHT = 'correct horse battery staple';
/** PHC string format: algorithm, parameters, salt, digest. */
const PHC =
  /^\$[a-z0-9-]{1,32}(\$v=\d+)?(\$[a-z0-9-]{1,32}=[A-Za-z0-9/+.-]+(,[a-z0-9-]{1,32}=[A-Za-z0-9/+.-]+)*)?(\$[A-Za-z0-9/+.-]+){2}$/;

export function testPasswords({ plugin, config = {}, unreadable = [], flood = 500 }: PasswordKit): void {
  const lines: string[] = [];
  let kernel: Process;
  let passwords: Passwords;
  let kept: string;

  const started = () => {
    const logs = new Logs({ level: 'debug', to: { write: (line) => void lines.push(line) } });
    return new Process({ logs }).create([{ id: plugin.id, plugin, config: structuredClone(config) }]).start();
  };
  before(async () => {
    kernel = await started();
    passwords = kernel.cradle.passwords;
    kept = await passwords.hash(RIGHT);
  });
  after(() => kernel.stop());

  describe('hash', () => {
    it('is a PHC string, in which the password does not stand', () => {
      expect(kept).to.match(PHC);
      for (const coding of ['utf8', 'hex', 'base64', 'base64url'] as const) {
        expect(kept).to.not.include(Buffer.from(RIGHT).toString(coding));
      }
    });

    it('is another one each time, since the salt is', async () => {
      const again = await passwords.hash(RIGHT);
      expect(again).to.not.equal(kept);
      expect(await passwords.verify(RIGHT, again)).to.equal(true);
    });

    it('holds all that a check needs: another process can make it', async () => {
      const other = await started();
      try {
        expect(await other.cradle.passwords.verify(RIGHT, kept)).to.equal(true);
        expect(await other.cradle.passwords.verify(`${RIGHT}!`, kept)).to.equal(false);
      } finally {
        await other.stop();
      }
    });
  });

  describe('verify', () => {
    it('finds the password of a hash right, and every other one wrong', async function () {
      this.timeout(60_000);
      const text = fc
        .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
        .map((s) => s.normalize('NFC'))
        .filter((s) => s !== '');
      await fc.assert(
        fc.asyncProperty(text, text, async (one, other) => {
          const hash = await passwords.hash(one);
          expect(await passwords.verify(one, hash)).to.equal(true);
          expect(await passwords.verify(other, hash)).to.equal(one === other);
        }),
        { numRuns: 20 },
      );
    });

    it('finds near misses wrong', async () => {
      for (const guess of [
        '',
        ' ',
        RIGHT.slice(1),
        RIGHT.slice(0, -1),
        `${RIGHT} `,
        `${RIGHT}\0`,
        RIGHT.toUpperCase(),
      ]) {
        expect(await passwords.verify(guess, kept), JSON.stringify(guess)).to.equal(false);
      }
    });

    it('answers without a promise what was right shortly before, for next to nothing', async () => {
      await passwords.verify(RIGHT, kept);
      expect(passwords.verify(RIGHT, kept)).to.equal(true);
      const dear = await work(() => passwords.verify('another guess', kept));
      const cheap = await work(() => {
        for (let i = 0; i < 100; i++) passwords.verify(RIGHT, kept);
      });
      expect(cheap, 'ms of CPU for a hundred').to.be.below(Math.max(dear, 2));
    });

    it('remembers a right password for its own hash only, and not instead of a check of others', async () => {
      const other = await passwords.hash('something else');
      await passwords.verify(RIGHT, kept);
      expect(await passwords.verify(RIGHT, other)).to.equal(false);
      expect(await passwords.verify('something else', kept)).to.equal(false);
      expect(await passwords.verify('something else', other)).to.equal(true);
      expect(await passwords.verify(RIGHT, other)).to.equal(false);
    });

    it('keeps apart what is checked at once', async () => {
      const hash = await passwords.hash('at once');
      const guesses = ['at once', 'at first', 'at once', 'at last', 'at first', 'at once'];
      const answers = await Promise.all(guesses.map((guess) => passwords.verify(guess, hash)));
      expect(answers).to.deep.equal([true, false, true, false, false, true]);
    });

    it('is false without a hash, also for what is right elsewhere, and however often', async () => {
      await passwords.verify(RIGHT, kept);
      for (let i = 0; i < 3; i++) expect(await passwords.verify(RIGHT, null)).to.equal(false);
      expect(passwords.verify(RIGHT, kept)).to.equal(true);
    });

    it('costs as much without a hash as with a wrong password', async function () {
      this.timeout(20_000);
      const wrong: number[] = [];
      const nobody: number[] = [];
      for (let i = 0; i < 9; i++) {
        wrong.push(await work(() => passwords.verify(`guess ${i}`, kept)));
        nobody.push(await work(() => passwords.verify(`guess ${i}`, null)));
      }
      expect(median(nobody) / median(wrong), 'the ratio of CPU time').to.be.within(1 / 3, 3);
    });
  });

  describe('what is no hash', () => {
    for (const text of ['', 'x', RIGHT, '$', '$no-such-algorithm$x=1$c2FsdHNhbHRzYWx0$ZGlnZXN0', ...unreadable]) {
      it(`is told as SECRET_UNREADABLE, and not shown: ${JSON.stringify(text.slice(0, 60))}`, async () => {
        const error = await refusal(passwords.verify('a guess of somebody', text));
        expect(error).to.include({ code: 'SECRET_UNREADABLE' });
        expect(error.hint).to.be.a('string').that.is.not.empty;
        const told = [error.message, error.hint, JSON.stringify(error), String(error.cause)].join('\n');
        expect(told).to.not.include('a guess of somebody');
        if (text.length > 20) expect(told).to.not.include(text);
      });
    }

    it('is so each time, and in no other way of others', async () => {
      for (let i = 0; i < 3; i++) expect(await refusal(passwords.verify(RIGHT, 'x'))).to.include({ kind: 'bug' });
      expect(await passwords.verify(RIGHT, kept)).to.equal(true);
    });

    it('is a hash of which the end is missing', async () => {
      const answer = await Promise.resolve(passwords.verify(RIGHT, kept.slice(0, -12))).catch(
        (error: unknown) => error,
      );
      if (answer !== false) expect(answer).to.include({ code: 'SECRET_UNREADABLE' });
    });
  });

  describe('a flood of guesses', () => {
    it('is turned away where it is too much, and the rest is checked', async function () {
      this.timeout(60_000);
      const wave = Array.from({ length: flood }, async (_, i) =>
        passwords.verify(`wave ${i}`, i % 2 === 0 ? kept : null),
      );
      const ends = await Promise.allSettled(wave);
      const refused = ends.filter((end) => end.status === 'rejected').map((end) => end.reason as GantryError);
      expect(refused.length, 'turned away').to.be.within(1, flood - 1);
      for (const error of refused) {
        expect(error).to.include({ code: 'SERVER_BUSY', kind: 'busy' });
        expect(error.retryAfterMs).to.be.a('number').that.is.greaterThan(0);
      }
      expect(new Set(ends.filter((end) => end.status === 'fulfilled').map((end) => end.value))).to.deep.equal(
        new Set([false]),
      );
    });

    it('does not touch who was right shortly before', async () => {
      await passwords.verify(RIGHT, kept);
      const wave = Array.from({ length: flood }, async (_, i) => passwords.verify(`next wave ${i}`, kept));
      expect(passwords.verify(RIGHT, kept)).to.equal(true);
      await Promise.allSettled(wave);
      expect(passwords.verify(RIGHT, kept)).to.equal(true);
    });

    it('leaves nothing behind: what comes after it is checked', async () => {
      expect(await passwords.verify('after the wave', kept)).to.equal(false);
      const hash = await passwords.hash('after the wave');
      expect(await passwords.verify('after the wave', hash)).to.equal(true);
    });
  });

  describe('log', () => {
    it('logs no password and no hash', () => {
      const all = lines.join('');
      for (const secret of [RIGHT, kept, 'another guess', 'guess 1', 'wave 1']) expect(all).to.not.include(secret);
    });
  });
}

/** CPU time in ms, of all threads: what others do on the machine does not count. */
async function work(run: () => unknown): Promise<number> {
  const from = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

async function refusal(answer: boolean | Promise<boolean>): Promise<GantryError> {
  const end = await Promise.resolve(answer).catch((error: unknown) => error);
  if (isGantryError(end)) return end;
  throw new Error(`It was answered, or rejected with what is no GantryError: ${String(end)}`);
}
