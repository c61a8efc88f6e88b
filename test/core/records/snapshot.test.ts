import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import fc from 'fast-check';
import { GantryError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/log/log.ts';
import type { Stored } from '../../../core/ports/odb.ts';
import { readSnapshot, Snapshots, type State, writeSnapshot } from '../../../core/records/snapshot.ts';
import { Secret } from '../../../core/schema/secret.ts';
import { Keyring } from '../../../core/secrets/keyring.ts';

const text = () => randomBytes(32).toString('base64');
const configured = (...keys: string[]) => new Keyring({ keys: new Secret(keys.join()), file: '/nowhere/keys' });
const key = text();
const keys = configured(key);
const module = (name: string) => JSON.stringify(new URL(`../../../core/${name}.ts`, import.meta.url).href);

function record(i: number, body: Stored['body'] = { url: `http://host-${i}/`, active: true }): Stored {
  const changedAt = new Date(1_700_000_000_000 + i);
  return { kind: 'connection', name: `c${i}`, version: 1 + i, body, changedAt, changedBy: 'ä', revision: 10 + i };
}
function records(count: number): Stored[] {
  return Array.from({ length: count }, (_, i) => record(i));
}
function state(revision: number, list: Iterable<Stored> = records(3)): State {
  return { revision, records: list, savedAt: new Date(1_800_000_000_123), server: 'server1' };
}

async function refusal(file: string, ring = keys): Promise<GantryError> {
  try {
    await readSnapshot(file, ring);
  } catch (error) {
    expect(error).to.be.instanceOf(GantryError);
    expect(error).to.include({ code: 'SNAPSHOT_INVALID', kind: 'setup' });
    expect((error as GantryError).message).to.include(file);
    expect((error as GantryError).hint).to.be.a('string');
    return error as GantryError;
  }
  return expect.fail('nothing was thrown');
}

describe('snapshot', () => {
  let folder: string;
  let file: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-snapshot-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  let count = 0;
  beforeEach(() => {
    const own = path.join(folder, String(++count));
    mkdirSync(own);
    file = path.join(own, 'snapshot');
  });
  const names = () => readdirSync(path.dirname(file));

  it('what is written is read, to the last character and millisecond', async () => {
    const body = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 3 }));
    const any = fc.record({
      kind: fc.string({ unit: 'grapheme' }),
      name: fc.string({ unit: 'binary' }),
      version: fc.nat(),
      body,
      changedAt: fc.date({ noInvalidDate: true }),
      changedBy: fc.string({ unit: 'grapheme' }),
      revision: fc.maxSafeNat(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(any, { maxLength: 5 }),
        fc.maxSafeNat(),
        fc.string(),
        async (list, revision, server) => {
          const savedAt = new Date();
          await writeSnapshot(file, { revision, records: list, savedAt, server }, keys);
          const read = await readSnapshot(file, keys);
          // As JSON has it, which knows no -0.
          const expected = list.map((one) => ({ ...one, body: JSON.parse(JSON.stringify(one.body)) as object }));
          expect(read).to.deep.equal({ revision, savedAt, server, records: expected });
        },
      ),
      { numRuns: 50 },
    );
  });
  it('no file is no snapshot', async () => {
    expect(await readSnapshot(file, keys)).to.equal(null);
  });
  it('a state without records is one', async () => {
    await writeSnapshot(file, state(0, []), keys);
    expect(await readSnapshot(file, keys)).to.deep.equal({ ...state(0), records: [] });
  });
  it('it is JSON lines: a head, a record a line, a signature', async () => {
    await writeSnapshot(file, state(7), keys);
    const lines = readFileSync(file, 'utf8').split('\n');
    expect(lines).to.have.length(6);
    expect(lines.pop()).to.equal('');
    const [head, ...rest] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(head).to.deep.equal({
      gantry: 'snapshot',
      format: 1,
      revision: 7,
      count: 3,
      savedAt: '2027-01-15T08:00:00.123Z',
      server: 'server1',
    });
    expect(rest.map((one) => one['name'])).to.deep.equal(['c0', 'c1', 'c2', undefined]);
    expect(rest.at(-1)?.['signature']).to.match(new RegExp(`^gh1\\.${keys.ids[0]}\\.`));
  });
  it('a body of a megabyte, and lines that need many bytes a character, are read', async () => {
    const list = [
      record(0, { text: '€\n"'.repeat(400_000) }),
      record(1),
      record(2, { text: '\u0000\u2028'.repeat(9) }),
    ];
    await writeSnapshot(file, state(1, list), keys);
    expect((await readSnapshot(file, keys))?.records).to.deep.equal(list);
  });
  it('only its owner can read it, and no draft is left', async () => {
    await writeSnapshot(file, state(1), keys);
    writeFileSync(`${file}.other`, '');
    await writeSnapshot(file, state(2), keys);
    if (process.platform !== 'win32') expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(names()).to.have.members(['snapshot', 'snapshot.other']);
  });
  it('a draft that a process left when it died is removed, and one that is being written is not', async () => {
    const [left, fresh] = [`${file}.aaaa.draft`, `${file}.bbbb.draft`];
    for (const draft of [left, fresh]) writeFileSync(draft, 'x');
    utimesSync(left, 1, 1);
    await writeSnapshot(file, state(1), keys);
    expect(names()).to.have.members(['snapshot', 'snapshot.bbbb.draft']);
  });
  it('it holds one moment, although the records are changed while it is written', async () => {
    const live = new Map(records(5000).map((one) => [one.name, one]));
    const writing = writeSnapshot(file, state(1, live.values()), keys);
    live.clear();
    live.set('late', record(1));
    await writing;
    expect((await readSnapshot(file, keys))?.records).to.deep.equal(records(5000));
  });
  it('two that are written at once do not harm each other: one of them is there, whole', async () => {
    await Promise.all(
      [1, 2, 3].map((revision) => writeSnapshot(file, state(revision, records(2000 + revision)), keys)),
    );
    const read = await readSnapshot(file, keys);
    expect(read?.records).to.have.length(2000 + (read?.revision ?? 0));
    expect(names()).to.deep.equal(['snapshot']);
  });

  describe('is refused as a whole', () => {
    it('when any byte is another one', async () => {
      await writeSnapshot(file, state(1, records(2)), keys);
      const bytes = readFileSync(file);
      for (let at = 0; at < bytes.length; at++) {
        for (const flip of [0x01, 0x20, 0x80]) {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] as number) ^ flip;
          writeFileSync(file, changed);
          await refusal(file);
        }
      }
      writeFileSync(file, bytes);
      expect(await readSnapshot(file, keys)).to.not.equal(null);
    }).timeout(60_000);
    it('when it ends at any earlier byte', async () => {
      await writeSnapshot(file, state(1, records(2)), keys);
      const bytes = readFileSync(file);
      for (let end = 0; end < bytes.length; end++) {
        writeFileSync(file, bytes.subarray(0, end));
        await refusal(file);
      }
    }).timeout(60_000);
    it('when a line is missing, doubled, moved, or anything is added', async () => {
      await writeSnapshot(file, state(1, records(3)), keys);
      const whole = readFileSync(file, 'utf8');
      const lines = whole.split(/(?<=\n)/);
      const [head, a, b, c, tail] = lines as [string, string, string, string, string];
      const others = [
        [head, a, b, tail],
        [head, a, a, b, c, tail],
        [head, b, a, c, tail],
        [head, a, b, c],
        [a, b, c, tail],
        [tail],
        [head],
        [head, tail],
        [whole, whole],
        [whole, tail],
        [whole, '\n'],
        [whole, ' '],
        ['\n', whole],
        ['\uFEFF', whole],
        [head.replace('"count":3', '"count":2'), a, b, c, tail],
        [head, a, b, c, tail.replace('{"', '{ "')],
        [head, a, b, c, tail.trimEnd()],
        [head, a, b, c, `{"signature":"${keys.sign('snapshot', 'else')}"}\n`],
        [head, a, b, c, `{"signature":"${keys.sign('else', head + a + b + c)}"}\n`],
        ['\n'],
        ['null\n'],
        ['x'.repeat(200_000)],
      ];
      for (const other of others) {
        writeFileSync(file, other.join(''));
        await refusal(file);
      }
      writeFileSync(file, whole);
      expect(await readSnapshot(file, keys)).to.not.equal(null);
    });
    it('when its key is not there, which is named; an older key that is there will do', async () => {
      await writeSnapshot(file, state(1), keys);
      const other = configured(text());
      const error = await refusal(file, other);
      expect(error.hint).to.include(keys.ids[0]).and.include(other.ids[0]).and.include('Remove the file');
      expect(await readSnapshot(file, configured(text(), key))).to.include({ revision: 1 });
    });
    it('when it is of a newer format, which tells to start a newer version', async () => {
      const head = '{"gantry":"snapshot","format":2,"whatever":1}\n';
      writeFileSync(file, `${head}{"signature":"${keys.sign('snapshot', head)}"}\n`);
      const error = await refusal(file);
      expect(error.message).to.include('has format 2, and this version reads format 1');
      expect(error.hint).to.include('newer version of Gantry');
    });
    it('when it cannot be read', async () => {
      mkdirSync(file);
      expect((await refusal(file)).message).to.include('EISDIR');
    });
    it('and the error tells nothing of what is in it', async () => {
      const body = { password: { $sealed: keys.seal('x', 'c') }, url: 'http://inside/' };
      await writeSnapshot(file, state(1, [record(0, body)]), keys);
      writeFileSync(file, readFileSync(file, 'utf8').replace('inside', 'indide'));
      const { message, hint } = await refusal(file);
      expect(`${message} ${hint}`).to.not.match(/indide|gs1/);
    });
  });

  describe('under load', () => {
    const many = Array.from({ length: 50_000 }, (_, i) =>
      record(i, {
        transport: 'rest',
        options: {
          url: `https://host-${i}.example/path`,
          auth: { username: `u${i}`, password: { $sealed: keys.seal(`p${i}`, 'c') } },
        },
        tags: ['one', 'two', 'three'],
        description: 'x'.repeat(200),
      }),
    );

    /** The longest that other work had to wait, and how long it all took. */
    async function measured(work: () => Promise<unknown>): Promise<{ stallMs: number; tookMs: number }> {
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      await new Promise((resolve) => setTimeout(resolve, 5));
      delay.reset();
      const started = performance.now();
      await work();
      const tookMs = performance.now() - started;
      await new Promise((resolve) => setTimeout(resolve, 5));
      delay.disable();
      return { stallMs: delay.max / 1e6, tookMs };
    }
    /** Of several, since other processes may take the processor away. */
    async function best(work: () => Promise<unknown>): Promise<{ stallMs: number; tookMs: number }> {
      const all = [];
      for (let i = 0; i < 5; i++) all.push(await measured(work));
      return all.reduce((one, other) => (other.stallMs < one.stallMs ? other : one));
    }

    it('50,000 records are written and read without holding up other work', async function () {
      this.timeout(120_000);
      const writing = await best(() => writeSnapshot(file, state(1, many), keys));
      const reading = await best(() => readSnapshot(file, keys));
      const told = ({ stallMs, tookMs }: typeof writing) =>
        `${tookMs.toFixed(0)} ms, longest stall ${stallMs.toFixed(1)} ms`;
      const size = (statSync(file).size / 2 ** 20).toFixed(1);
      console.log(`        ${size} MiB; written in ${told(writing)}; read in ${told(reading)}`);
      // In one piece each takes some hundred.
      expect(writing.stallMs).to.be.below(120);
      expect(reading.stallMs).to.be.below(120);
      expect((await readSnapshot(file, keys))?.records).to.have.length(50_000);
    });
  });

  it('kill -9 at any moment leaves a file that can be read, and is not older than what was acknowledged', async function () {
    this.timeout(120_000);
    const script = `
      import { Keyring } from ${module('secrets/keyring')};
      import { Secret } from ${module('schema/secret')};
      import { writeSnapshot } from ${module('records/snapshot')};
      const keys = new Keyring({ keys: new Secret(process.env.KEYS), file: '/nowhere' });
      const body = { text: 'x'.repeat(300) };
      for (let revision = Number(process.env.FROM); ; revision++) {
        const records = Array.from({ length: 3000 }, (_, i) => ({
          kind: 'k', name: 'n' + i, version: revision, body, changedAt: new Date(), changedBy: 'a', revision,
        }));
        await writeSnapshot(${JSON.stringify(file)}, { revision, records, savedAt: new Date(), server: 's' }, keys);
        process.stdout.write(revision + '\\n');
      }`;
    let last = 0;
    let drafts = 0;
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, KEYS: key, FROM: String(last + 1) },
      });
      const closed = once(child, 'close');
      let seen = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        last = Math.max(last, Number(line));
        // Each round a while later into the write that follows.
        if (++seen === 3) setTimeout(() => child.kill('SIGKILL'), round * 3);
      }
      await closed;
      expect(child.signalCode).to.equal('SIGKILL');
      const read = await readSnapshot(file, keys);
      expect(read?.revision).to.be.within(last, last + 1);
      expect(read?.records).to.have.length(3000);
      expect(new Set(read?.records.map((one) => one.revision))).to.deep.equal(new Set([read?.revision]));
      last = read?.revision ?? 0;
      drafts = names().length - 1;
    }
    expect(drafts, 'a write was under way when the process died, at least once').to.be.at.least(1);
  });

  describe('keeping the newest', () => {
    interface Line {
      readonly level: string;
      readonly fields: { readonly file?: string; readonly error?: Error };
      readonly message: string;
    }
    function logger(): Logger & { lines: Line[] } {
      const lines: Line[] = [];
      const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
      const log = { lines, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
      return Object.assign(log, { child: () => log as unknown as Logger, isLevelEnabled: () => true });
    }
    const read = async () => (await readSnapshot(file, keys))?.revision;

    it('a state is written at once, and of those that follow within the interval only the newest', async () => {
      const log = logger();
      const snapshots = new Snapshots({ file, keyring: keys, log, intervalMs: 60_000 });
      const taken: number[] = [];
      const save = (revision: number) =>
        snapshots.save(() => {
          taken.push(revision);
          return state(revision);
        });
      for (let revision = 1; revision <= 100; revision++) save(revision);
      await snapshots.settle();
      expect(await read()).to.equal(100);
      expect(taken).to.deep.equal([1, 100]);
      expect(log.lines).to.deep.equal([]);
      expect(snapshots.problem).to.equal(null);
    });
    it('writes are at least the interval apart, one at a time, and the last state is always written', async () => {
      const snapshots = new Snapshots({ file, keyring: keys, log: logger(), intervalMs: 50 });
      const starts: number[] = [];
      let last = 0;
      const until = performance.now() + 300;
      await new Promise<void>((resolve) => {
        const tick = () => {
          const revision = ++last;
          snapshots.save(() => {
            starts.push(performance.now());
            return state(revision);
          });
          if (performance.now() < until) setTimeout(tick, 1);
          else resolve();
        };
        tick();
      });
      await snapshots.settle();
      const gaps = starts.slice(1).map((at, i) => at - (starts[i] as number));
      // The last one did not have to wait.
      for (const gap of gaps.slice(0, -1)) expect(gap).to.be.above(49);
      expect(starts.length).to.be.within(3, 9);
      expect(await read()).to.equal(last);
    });
    it('the same function may tell of many states', async () => {
      const snapshots = new Snapshots({ file, keyring: keys, log: logger(), intervalMs: 60_000 });
      let revision = 0;
      const take = () => state(++revision);
      snapshots.save(take);
      snapshots.save(take);
      await snapshots.settle();
      snapshots.save(take);
      await snapshots.settle();
      expect(revision).to.equal(3);
      expect(await read()).to.equal(3);
    });
    it('without a state settling does nothing, and after it saving goes on', async () => {
      const snapshots = new Snapshots({ file, keyring: keys, log: logger() });
      await snapshots.settle();
      expect(existsSync(file)).to.equal(false);
      snapshots.save(() => state(1));
      await Promise.all([snapshots.settle(), snapshots.settle()]);
      expect(await read()).to.equal(1);
    });
    it('a folder that cannot be written to throws nothing, is told once, and made up for with the next state', async () => {
      const log = logger();
      const own = path.join(path.dirname(file), 'gone');
      file = path.join(own, 'snapshot');
      const snapshots = new Snapshots({ file, keyring: keys, log, intervalMs: 0 });
      for (let revision = 1; revision <= 3; revision++) {
        snapshots.save(() => state(revision));
        await snapshots.settle();
      }
      expect(log.lines.map(({ level }) => level)).to.deep.equal(['warn']);
      expect(log.lines[0]?.fields.file).to.equal(file);
      expect(log.lines[0]?.fields.error).to.include({ code: 'ENOENT' });
      expect(snapshots.problem).to.include({ code: 'ENOENT' });
      mkdirSync(own);
      snapshots.save(() => state(4));
      await snapshots.settle();
      expect(await read()).to.equal(4);
      expect(snapshots.problem).to.equal(null);
      expect(log.lines.map(({ level }) => level)).to.deep.equal(['warn', 'info']);
    });
    it('settling tries once more what failed', async () => {
      const own = path.join(path.dirname(file), 'gone');
      file = path.join(own, 'snapshot');
      let asked = 0;
      const snapshots = new Snapshots({ file, keyring: keys, log: logger(), intervalMs: 0 });
      await new Promise<void>((resolve) => {
        snapshots.save(() => {
          asked++;
          resolve();
          return state(1);
        });
      });
      await snapshots.settle();
      expect(asked).to.equal(2);
      mkdirSync(own);
      await snapshots.settle();
      expect(await read()).to.equal(1);
    });
    it('a state that cannot be taken, or written, is told, too', async () => {
      const log = logger();
      const snapshots = new Snapshots({ file, keyring: keys, log, intervalMs: 0 });
      snapshots.save(() => state(1));
      await snapshots.settle();
      snapshots.save(() => {
        throw new Error('no state');
      });
      await snapshots.settle();
      expect(snapshots.problem?.message).to.equal('no state');
      snapshots.save(() => state(2, [record(0, { big: 1n })]));
      await snapshots.settle();
      expect(log.lines).to.have.length(2);
      expect(await read()).to.equal(1);
      expect(names()).to.deep.equal(['snapshot']);
    });
    it('a state that is older than what is on disk leaves that in a file of its own, and says so', async () => {
      await writeSnapshot(file, state(9, records(5)), keys);
      const log = logger();
      const snapshots = new Snapshots({ file, keyring: keys, log, intervalMs: 0 });
      snapshots.save(() => state(2, records(1)));
      await snapshots.settle();
      expect((await readSnapshot(file, keys))?.revision).to.equal(2);
      const kept = await readSnapshot(`${file}.9`, keys);
      expect(kept).to.include({ revision: 9 });
      expect(kept?.records).to.have.lengthOf(5);
      const message = 'the database has less than this server knew last: was it restored, or is it another one?';
      const fields = { revision: 2, earlier: 9, kept: `${file}.9` };
      expect(log.lines).to.deep.equal([{ level: 'warn', fields, message }]);
      // Another time while it runs; what goes on leaves nothing.
      for (const revision of [3, 4, 1, 2]) {
        snapshots.save(() => state(revision));
        await snapshots.settle();
      }
      expect(names()).to.deep.equal(['snapshot', 'snapshot.4', 'snapshot.9']);
    });

    it('where its place is taken by a folder, the draft is removed and the error told', async () => {
      mkdirSync(file);
      writeFileSync(path.join(file, 'x'), '');
      const snapshots = new Snapshots({ file, keyring: keys, log: logger(), intervalMs: 0 });
      snapshots.save(() => state(1));
      await snapshots.settle();
      expect(snapshots.problem).to.be.instanceOf(Error);
      expect(names()).to.deep.equal(['snapshot']);
      rmSync(path.join(file, 'x'));
      rmdirSync(file);
      await snapshots.settle();
      expect(await read()).to.equal(1);
    });
    if (process.platform === 'linux') {
      it('a disk that is full in the middle of a write: the earlier file stays whole, and no draft', async function () {
        this.timeout(60_000);
        await writeSnapshot(file, state(1), keys);
        const script = `
          import { Keyring } from ${module('secrets/keyring')};
          import { Secret } from ${module('schema/secret')};
          import { Snapshots } from ${module('records/snapshot')};
          const keyring = new Keyring({ keys: new Secret(process.env.KEYS), file: '/nowhere' });
          const log = { warn: (fields) => console.log(fields.error.code), info: () => console.log('again') };
          const snapshots = new Snapshots({ file: ${JSON.stringify(file)}, keyring, log, intervalMs: 0 });
          const state = (revision, count) => ({ revision, savedAt: new Date(), server: 's', records: Array.from(
            { length: count }, (_, i) => ({ kind: 'k', name: 'n' + i, version: 1, body: { text: 'x'.repeat(300) },
              changedAt: new Date(), changedBy: 'a', revision: 1 })) });
          snapshots.save(() => state(2, 5000));
          await snapshots.settle();
          if (process.env.SMALLER) { snapshots.save(() => state(3, 10)); await snapshots.settle(); }`;
        // A limit on the size of files fails in the middle, as a full disk does.
        const run = async (env: object) => {
          const command = 'ulimit -f 400; exec "$0" --import tsx --input-type=module -e "$1"';
          const child = spawn('/bin/sh', ['-c', command, process.execPath, script], {
            stdio: ['ignore', 'pipe', 'inherit'],
            env: { ...process.env, KEYS: key, TSX_DISABLE_CACHE: '1', ...env },
          });
          let told = '';
          child.stdout.setEncoding('utf8').on('data', (piece: string) => {
            told += piece;
          });
          const [code] = (await once(child, 'close')) as [number];
          return { code, told };
        };
        expect(await run({})).to.deep.equal({ code: 0, told: 'EFBIG\n' });
        expect(await read()).to.equal(1);
        expect(names()).to.deep.equal(['snapshot']);
        expect(await run({ SMALLER: '1' })).to.deep.equal({ code: 0, told: 'EFBIG\nagain\n' });
        expect(await read()).to.equal(3);
      });
    }
  });
});
