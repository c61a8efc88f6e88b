import { expect } from 'chai';
import { optionsOf } from '../../.build/suite/options.ts';
import { isQuick, type Job, nextJob, plan } from '../../.build/suite/plan.ts';

const took = (seconds: number, cpuSeconds = seconds) => ({ ms: seconds * 1000, cpuMs: cpuSeconds * 1000 });

describe('npm test: what is run when', () => {
  it('is the longest first, short ones share a process, and a new file is not left to the end', () => {
    const durations = { long: took(90), middle: took(9), a: took(4), b: took(3), c: took(0.1) };
    const jobs = plan(['a', 'b', 'c', 'long', 'middle', 'new'], durations);
    expect(jobs.map(({ files }) => files)).to.deep.equal([['long'], ['new'], ['middle'], ['a', 'b', 'c']]);
    expect(jobs.at(-1)?.ms).to.equal(7100);
  });

  it('shares no process among more than a job of middle length', () => {
    const files = Array.from({ length: 20 }, (_, i) => `f${i}`);
    const jobs = plan(files, Object.fromEntries(files.map((file) => [file, took(4)])));
    expect(jobs.map((job) => job.files.length)).to.deep.equal([5, 5, 5, 5]);
    expect(jobs.flatMap((job) => job.files).sort()).to.deep.equal(files.sort());
  });

  const job = (name: string, load: number): Job => ({ files: [name], ms: 1000, load });
  const two = { cores: 2, processes: 3 };

  it('is what the cores have room for', () => {
    const waiting = [job('heavy', 1.5), job('light', 0.4)];
    expect(nextJob(waiting, [], two)?.files).to.deep.equal(['heavy']);
    expect(nextJob(waiting, [job('one', 1)], two)?.files).to.deep.equal(['light']);
    expect(nextJob([job('heavy', 1.5)], [job('x', 0.2), job('y', 0.2)], two)?.files).to.deep.equal(['heavy']);
    expect(nextJob([job('heavy', 1.5)], [job('x', 0.7), job('y', 0.2)], two)).to.equal(null);
  });

  it('leaves no core without a process, and starts no more of them than may be', () => {
    expect(nextJob([job('heavy', 3)], [job('x', 1)], two)?.files).to.deep.equal(['heavy']);
    expect(nextJob([job('light', 0)], [job('x', 0), job('y', 0), job('z', 0)], two)).to.equal(null);
    expect(nextJob([], [], two)).to.equal(null);
    const chaos = { ...job('test/e2e/chaos.test.ts', 0.1) };
    expect(nextJob([job('x', 0.1), chaos], [], two)?.files).to.deep.equal(['test/e2e/chaos.test.ts']);
    expect(nextJob([job('x', 0.1)], [chaos], two)).to.equal(null);
    expect(nextJob([chaos], [job('x', 0.1)], two)).to.equal(null);
  });

  it('is quick where it needs no engine, starts no servers, and was soon done', () => {
    const durations = { 'test/a.test.ts': took(1), 'test/slow.test.ts': took(30), 'test/e2e/b.test.ts': took(1) };
    const plain = "import { Entries } from './entries.ts';";
    expect(isQuick('test/a.test.ts', plain, durations)).to.equal(true);
    expect(isQuick('test/slow.test.ts', plain, durations)).to.equal(false);
    expect(isQuick('test/new.test.ts', plain, durations)).to.equal(false);
    expect(isQuick('test/e2e/b.test.ts', plain, durations)).to.equal(false);
    const engine = "import { needs, postgres } from '../../engines/index.ts';";
    expect(isQuick('test/a.test.ts', engine, durations)).to.equal(false);
  });
});

describe('npm test: its command line', () => {
  it('hands on to mocha what is for mocha', () => {
    const options = optionsOf(['test/core', '-g', 'a b', '--ignore', 'x', '--ignore', 'y', '--retries=2', '--dry-run']);
    expect(options).to.deep.include({ specs: ['test/core'], ignore: ['x', 'y'], picks: true, processes: null });
    expect(options.mocha).to.deep.equal(['--grep', 'a b', '--retries', '2', '--dry-run']);
  });
  it('refuses what it does not know', () => {
    expect(() => optionsOf(['--parallel'])).to.throw('--parallel');
    expect(() => optionsOf(['--processes', '0'])).to.throw('1 to 99');
  });
});
