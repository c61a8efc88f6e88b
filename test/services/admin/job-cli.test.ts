/** Jobs, runs and the scheduler on the command line, against a real server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { expect } from 'chai';
import { runClient } from '../../../core/cli/index.ts';
import { until } from '../../chaos/condition.ts';
import { type JobServer, jobServer } from './jobs.ts';
import { PASSWORD } from './server.ts';

interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

describe('the client: jobs and runs', () => {
  let server: JobServer;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-jobs-'));
    server = await jobServer();
    await until('it has the scheduler', () => server.kernel.cradle.scheduler.status().planned !== null);
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  async function gantry(words: string | readonly string[], stdin = ''): Promise<Ran> {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    stdout.on('data', (part: Buffer) => out.push(part));
    stderr.on('data', (part: Buffer) => err.push(part));
    const env = { GANTRY_URL: server.url, GANTRY_PASSWORD: PASSWORD };
    const argv = typeof words === 'string' ? words.split(' ') : words;
    const terminal = { stdin: Readable.from([Buffer.from(stdin)]), stdout, stderr, env };
    const exit = await runClient(argv, terminal, '0.0.0');
    return { exit, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
  }
  const done = async (words: string | readonly string[], stdin?: string): Promise<string> => {
    const { exit, out, err } = await gantry(words, stdin);
    expect(exit, out + err).to.equal(0);
    return out;
  };
  const create = (name: string, ...more: string[]) =>
    done(['job', 'create', name, '--set', 'service=test.work', '--set', 'schedule.every=1h', ...more]);
  const TIME = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$/;
  const lines = (text: string) => text.trimEnd().split('\n');
  /** Cells of a table, by title. */
  const cells = (text: string) => {
    const [titles = '', ...rows] = lines(text);
    const starts = [...titles.matchAll(/\S+/g)].map(({ index, 0: title }) => [title, index] as const);
    return rows.map((row) =>
      Object.fromEntries(starts.map(([title, at], i) => [title, row.slice(at, starts[i + 1]?.[1]).trim()])),
    );
  };

  it('a job that is made is told with its next runs, and with what may keep it from running', async () => {
    const [first, second, ...times] = lines(await create('one'));
    expect(first).to.equal("The job 'one' was created (version 1).");
    expect(second).to.equal('It runs next at');
    expect(times).to.have.lengthOf(5);
    for (const time of times) expect(time.trim()).to.match(TIME);
    const absent = await gantry('job create two --set service=shop.gone --set schedule.every=1h');
    expect(absent.exit).to.equal(0);
    expect(absent.err).to.equal("gantry: the service 'shop.gone' (service) is not deployed on this server\n");
    await done('job delete two');
  });

  it('next tells when one runs, or would run', async () => {
    const times = lines(await done('job next one --count 3'));
    expect(times).to.have.lengthOf(3);
    for (const time of times) expect(time).to.match(TIME);
    const cron = ['job', 'next', '--set', 'schedule.cron=0 12 1 1 *', '--set', 'schedule.start=2040-06-01T00:00:00Z'];
    const { times: found } = JSON.parse(await done([...cron, '--count', '2', '--json'])) as { times: string[] };
    expect(found).to.deep.equal(['2041-01-01T12:00:00.000Z', '2042-01-01T12:00:00.000Z']);
    const file = path.join(folder, 'job.yaml');
    writeFileSync(file, 'name: x\nservice: test.work\nschedule: { cron: "61 * * * *" }\n');
    const wrong = await gantry(['job', 'next', '-f', file]);
    expect(wrong.exit).to.equal(1);
    expect(wrong.err).to.include('/definition/schedule/cron').and.to.include('0 to 59');
    for (const words of ['job next', 'job next one --set schedule.every=1h']) {
      expect((await gantry(words)).exit, words).to.equal(2);
    }
  });

  it('run prints the token, or waits and tells how it ended', async () => {
    const token = (await done('job run one')).trim();
    expect(token).to.match(/^\w+$/);
    await server.ended(token);
    const waited = await gantry(['job', 'run', 'one', '--wait', '--payload', '{"a":1}']);
    expect(waited.exit).to.equal(0);
    expect(cells(waited.out)[0]).to.include({ OUTCOME: 'succeeded', ATTEMPT: '1/1', BY: 'manual', SERVER: 'server1' });
    expect(server.worked.at(-1)?.input).to.deep.equal({ a: 1 });
    const failed = await gantry(['job', 'run', 'one', '--wait', '--payload', '-'], '{"fail":true}');
    expect(failed.exit).to.equal(1);
    expect(cells(failed.out)[0]).to.include({ OUTCOME: 'failed', WHY: 'CONFLICT: as it was told' });
    expect((await gantry('job run one --payload {')).exit).to.equal(2);
    expect((await gantry('job run on')).err).to.include("Did you mean 'one'?");
  });

  it('history tells how one ran, and quietly the tokens', async () => {
    const rows = cells(await done('job history one'));
    expect(rows.map(({ OUTCOME }) => OUTCOME)).to.deep.equal(['failed', 'succeeded', 'succeeded']);
    for (const { DUE, LATE } of rows) {
      expect(DUE).to.match(TIME);
      expect(LATE).to.match(/^\d.* m?s$/);
    }
    expect(await done('job history one --outcome missed')).to.equal('There is no such run.\n');
    const limited = await gantry('job history one --limit 1 --quiet');
    expect(limited.out.trim()).to.equal(rows[0]?.['TOKEN']);
    const page = await gantry('job history one --limit 2');
    expect(page.err).to.match(/^2 of 3; go on with --after \S+\n$/);
    const rest = await done(['job', 'history', 'one', '--after', (/--after (\S+)/.exec(page.err) ?? [])[1] as string]);
    expect(cells(rest)).to.deep.equal([rows[2]]);
    expect((await gantry(['job', 'history', 'one', '--from', 'soon'])).exit).to.equal(2);
  });

  it('overview tells the next and the last run, and what is wrong', async () => {
    await create('off', '--set', 'active=false');
    const [off, row] = cells(await done('job overview'));
    expect(row).to.include({
      NAME: 'one',
      LAST: 'failed',
      SERVER: 'server1',
      NOW: '-',
      WHY: 'CONFLICT: as it was told',
    });
    expect(row?.['NEXT']).to.match(TIME);
    expect(off).to.include({ NAME: 'off', NEXT: 'off', LAST: '-' });
    const token = (await done(['job', 'run', 'one', '--payload', '{"hold":true}'])).trim();
    await until('it is held', () => server.held === 1);
    expect(cells(await done('job overview --filter active=true'))[0]?.['NOW']).to.match(/^runs for \d+ s$/);
    server.release();
    await server.ended(token);
    await done('job create gone --set service=shop.gone --set schedule.every=1h');
    const { exit, out } = await gantry('job overview --search gone');
    expect([exit, lines(out)[2]]).to.deep.equal([
      1,
      "gone: the service 'shop.gone' (service) is not deployed on this server",
    ]);
    await done('job delete gone');
  });

  it('backfill runs what a period is short of', async () => {
    const hour = 3_600_000;
    const start = new Date(Math.floor(Date.now() / hour) * hour - 5 * hour);
    const at = (n: number) => new Date(start.getTime() + n * hour).toISOString();
    await create('filled', '--set', `schedule.start=${at(0)}`, '--set', 'active=false');
    const period = ['job', 'backfill', 'filled', '--from', at(1), '--until', at(3)];
    expect(await done(period)).to.equal('Of 3 due times that did not run, 3 run now.\n');
    await until('all ran', async () => cells(await done('job history filled --outcome succeeded')).length === 3);
    expect(await done(period)).to.equal('Each due time of the period has run.\n');
    expect((await gantry('job backfill filled')).exit).to.equal(2);
    expect((await gantry(['job', 'backfill', 'filled', '--from', at(0), '--limit', '1'])).exit).to.equal(1);
  });

  it('pause and resume switch one, or all', async () => {
    expect(await done('job pause one')).to.match(/^The job 'one' was paused \(version 2\)\.\n$/);
    expect(await done('job resume one')).to.match(/^The job 'one' was resumed \(version 3\)\.\nIt runs next at\n/);
    expect(await done('job pause --all')).to.equal('All jobs are paused.\n');
    expect(await done('job pause --all')).to.equal('All jobs are paused already.\n');
    expect((await gantry('job overview')).err).to.include('gantry job resume --all');
    expect(await done('scheduler status')).to.match(/^jobs +\d+ planned, all paused$/m);
    expect(await done('job resume --all')).to.equal('Jobs run again.\n');
    expect(await done('job resume --all')).to.equal('Jobs run already.\n');
    for (const words of ['job pause', 'job resume one --all']) expect((await gantry(words)).exit, words).to.equal(2);
  });

  it('scheduler status tells who has it', async () => {
    const text = await done('scheduler status');
    expect(text)
      .to.match(/^holder +server1, epoch 1, seen at /m)
      .and.to.match(/^asked +server1, which is the holder$/m);
    expect(text).to.match(/^runs +waiting \d+, dead \d+, in hand on server1 0$/m);
    expect(await done('scheduler status --quiet')).to.equal('server1\n');
    expect(JSON.parse(await done('scheduler status --json'))).to.deep.include({ isHolder: true, overdue: [] });
  });

  it('run lists, replays, buries and cancels', async () => {
    const [one, two] = [await server.durably({ fail: true }), await server.durably({ fail: true })];
    for (const token of [one, two]) await server.ended(token);
    const dead = async () =>
      lines(await done('run dead --quiet'))
        .filter((token) => token !== '')
        .sort();
    expect(await dead()).to.deep.equal([one, two].sort());
    const [row] = cells(await done('run list --of calls --outcome failed --limit 1'));
    expect(row).to.include({ JOB: '-', SERVICE: 'test.work', OUTCOME: 'failed, dead' });
    const got = await gantry(['run', 'get', one]);
    expect(got.exit).to.equal(1);
    expect(got.out)
      .to.include('Attempt 1: CONFLICT: as it was told\n')
      .and.to.include('Run with: ')
      .and.to.include('"fail":true');
    expect(await done(['run', 'replay', one])).to.equal('1 run was replayed.\n');
    await server.ended(one);
    expect(cells((await gantry(['run', 'get', one])).out.replace(/^(Run with|Attempt).*\n/gm, ''))).to.have.lengthOf(2);
    expect(await done(['run', 'bury', one])).to.equal('1 run was buried.\n');
    const again = await gantry(['run', 'bury', one]);
    expect([again.exit, again.err]).to.deep.equal([1, `gantry: the run '${one}' is not dead\n`]);
    expect(await done('run bury --all --service test.work')).to.equal('1 run was buried.\n');
    expect(await dead()).to.deep.equal([]);
    const later = await server.durably({}, { afterMs: 3_600_000 });
    expect(cells(await done('run list --state waiting'))[0]).to.include({ OUTCOME: 'waiting', TOKEN: later });
    expect(await done(['run', 'cancel', later])).to.equal(`The run '${later}' was cancelled.\n`);
    expect((await gantry(['run', 'cancel', later])).exit).to.equal(1);
    for (const words of ['run replay', `run bury ${one} --all`, 'run list --of both']) {
      expect((await gantry(words)).exit, words).to.equal(2);
    }
  });
});
