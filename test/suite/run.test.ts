import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { Run } from '../../.build/suite/run.ts';

const HOME = path.resolve(import.meta.dirname, '../..');
const PASSES = "it('passes', () => {});";

describe('npm test: files in processes', function () {
  this.timeout(60_000);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-suite-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const file = (name: string, source: string): string => {
    const full = path.join(folder, `${name}.mjs`);
    writeFileSync(full, source);
    return path.relative(HOME, full);
  };
  const begin = (batches: readonly (readonly string[])[], more: { silenceMs?: number; mocha?: string[] } = {}) => {
    let printed = '';
    const print = (text: string) => {
      printed += text;
    };
    const { silenceMs = 30_000, mocha = [] } = more;
    const picks = mocha.includes('--grep');
    const limits = { cores: 2, processes: 2, silenceMs, mustRun: !picks };
    const run = new Run(
      batches.map((files) => ({ files, ms: 1, load: 1 })),
      { cwd: HOME, mocha, env: { TEST_FOLDER: folder }, print, ...limits },
    );
    const done = run.go().then((report) => {
      report.end(1);
      const counts = [report.count('passed'), report.failed, report.count('skipped')];
      return { report, counts, printed, json: JSON.parse(JSON.stringify(report)) };
    });
    return { run, done };
  };
  const isRunning = (pid: number): boolean => {
    try {
      return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return false;
    }
  };
  async function until(what: string, holds: () => boolean): Promise<void> {
    for (const late = Date.now() + 20_000; !holds(); await new Promise((go) => setTimeout(go, 20))) {
      if (Date.now() > late) throw new Error(`never: ${what}`);
    }
  }
  const pidIn = (name: string): number => {
    try {
      return Number(readFileSync(path.join(folder, name), 'utf8'));
    } catch {
      return 0;
    }
  };

  it('are counted together, and what is not well is printed in full', async () => {
    const good = file('good', `describe('good', () => { ${PASSES} it.skip('later', () => {}); });`);
    const bad = file(
      'bad',
      `describe('bad', () => {
        it('differs', () => { throw Object.assign(new Error('not so'), { actual: 1, expected: 2 }); });
        before(() => console.log('SKIPPED: there is no moon'));
        ${PASSES}
      });`,
    );
    const { counts, printed, json, report } = await begin([[good, bad]]).done;
    expect(counts).to.deep.equal([2, 1, 1]);
    expect(json.stats).to.deep.equal({ passes: 2, failures: 1, pending: 1 });
    expect(json.failures).to.have.lengthOf(1);
    expect(json.failures[0]).to.include({ file: bad, title: 'bad differs' });
    expect(json.failures[0].error).to.match(/Error: not so\n +at .*bad\.mjs.*\n(.*\n)*.*expected: 2\n.*got: +1/);
    expect(printed).to.include(`FAILED 1) ${bad}: bad differs`).and.to.include('SKIPPED: there is no moon');
    expect(printed.trimEnd().split('\n').at(-1)).to.equal('2 passed, 1 failed, 1 skipped');
    expect(Object.keys(report.durations({ gone: { ms: 1, cpuMs: 1 } }, [good, bad]))).to.have.members([good, bad]);
  });

  it('that crash are failures, and the files after them in the same process are run nevertheless', async () => {
    const first = file('first', PASSES);
    const crash = file('crash', "it('crashes', () => process.kill(process.pid, 'SIGKILL'));");
    const last = file('last', PASSES);
    const { counts, json } = await begin([[first, crash, last]]).done;
    expect(counts).to.deep.equal([2, 1, 0]);
    expect(json.failures[0]).to.include({ file: crash, error: 'ended with SIGKILL before its tests were through' });
  });

  it('that cannot be loaded are named, and take no other with them', async () => {
    const broken = file('broken', "import './no-such-file.mjs';");
    const { counts, json, printed } = await begin([[file('well', PASSES), broken]]).done;
    expect(counts).to.deep.equal([1, 1, 0]);
    expect(json.failures[0].file).to.equal(broken);
    expect(printed).to.include('no-such-file.mjs');
  });

  it('that hang are ended with what they started, and named', async () => {
    const source = `import { spawn } from 'node:child_process';
      import { writeFileSync } from 'node:fs';
      it('hangs', () => {
        const { pid } = spawn('sleep', ['600'], { stdio: 'ignore' });
        writeFileSync(process.env.TEST_FOLDER + '/pid', String(pid));
        while (true);
      });`;
    const hung = file('hung', source);
    const { counts, json } = await begin([[hung]], { silenceMs: 20_000 }).done;
    expect(counts).to.deep.equal([0, 1, 0]);
    expect(json.failures[0]).to.include({ file: hung, error: 'hangs: nothing happened for 20 s' });
    expect(pidIn('pid')).to.be.greaterThan(0);
    await until('what it started has ended', () => !isRunning(pidIn('pid')));
  });

  it('without a test are failures, but where a pattern picks some', async () => {
    const empty = file('empty', 'describe("nothing", () => {});');
    const { counts, json } = await begin([[empty]]).done;
    expect(counts).to.deep.equal([0, 1, 0]);
    expect(json.failures[0]).to.include({ file: empty, error: 'ran no test' });
    const picked = await begin([[empty], [file('some', PASSES)]], { mocha: ['--grep', 'passes'] }).done;
    expect(picked.counts).to.deep.equal([1, 0, 0]);
  });

  it('may not hold a test that is to be run alone', async () => {
    const { counts } = await begin([[file('only', "it.only('alone', () => {}); it('other', () => {});")]]).done;
    expect(counts[1]).to.be.greaterThan(0);
  });

  it('are ended in order where the run is, hooks included', async () => {
    const source = `import { writeFileSync } from 'node:fs';
      after(() => writeFileSync(process.env.TEST_FOLDER + '/after', '1'));
      it('is long', (done) => {
        writeFileSync(process.env.TEST_FOLDER + '/pid', String(process.pid));
        setTimeout(done, 1500);
      });
      it('is not begun', () => {});`;
    const { run, done } = begin([[file('long', source)], [file('two', source.replaceAll('/pid', '/two'))], ['never']]);
    await until('both run', () => pidIn('pid') > 0 && pidIn('two') > 0);
    await run.end();
    const { report } = await done;
    expect(report.failed).to.equal(2);
    expect([pidIn('pid'), pidIn('two')].map(isRunning)).to.deep.equal([false, false]);
    expect(pidIn('after')).to.equal(1);
    expect([...report.files.keys()]).to.not.include('never');
  });
});
