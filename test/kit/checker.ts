/** The contract kit of the checker port: every promise of core/ports/checker.ts. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { Plugin } from '../../core/cradle.ts';
import { type GantryError, isGantryError, type Problem } from '../../core/errors.ts';
import { Logs } from '../../core/log/log.ts';
import type { CheckedSource, Checker } from '../../core/ports/checker.ts';
import { Process } from '../../core/process.ts';

export interface CheckerSamples {
  readonly language: CheckedSource['language'];
  /** Services with nothing wrong in them. */
  readonly right: readonly string[];
  readonly wrong: readonly {
    readonly source: string;
    /** The line, from 1, that one of its problems must name. */
    readonly line: number;
  }[];
}

export interface CheckerKit {
  readonly plugin: Plugin;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Of each language that it reads, some. */
  readonly samples: readonly CheckerSamples[];
}

export function testChecker({ plugin, config = {}, samples }: CheckerKit): void {
  let kernel: Process;
  let checker: Checker;

  const made = () =>
    new Process({ logs: new Logs({ level: 'silent' }), graceMs: 1000 }).create([
      { id: plugin.id, plugin, config: structuredClone(config) },
    ]);
  const check = (language: CheckedSource['language'], source: string, file = `kit.${language}`) =>
    checker.check({ file, language, source });

  before(async () => {
    kernel = await made().start();
    checker = kernel.cradle.checker;
  });
  after(() => kernel.stop());

  it('names the languages that it reads', () => {
    expect(checker.languages).to.be.an('array').that.is.not.empty;
    expect([...checker.languages].sort()).to.deep.equal(samples.map(({ language }) => language).sort());
  });

  for (const { language, right, wrong } of samples) {
    describe(language, () => {
      right.forEach((source, i) => {
        it(`finds nothing wrong in what is right: ${i + 1}`, async () => {
          expect(await check(language, source)).to.deep.equal([]);
        });
      });

      wrong.forEach(({ source, line }, i) => {
        it(`tells where a source is wrong, and what is: ${i + 1}`, async () => {
          const problems = await check(language, source);
          expect(problems).to.not.be.empty;
          for (const problem of problems) proper(problem, source);
          expect(problems.map(lineOf)).to.include(line);
        });
      });

      it('tells the same each time, whatever the file is called', async function () {
        this.timeout(60_000);
        const { source } = wrong[0] as { source: string };
        const first = await check(language, source);
        for (const file of ['', 'a/../../b', '/etc/passwd', 'two words.ts', 'a\nb.ts', '-p', `${'x'.repeat(300)}.js`]) {
          expect(await check(language, source, file), JSON.stringify(file)).to.deep.equal(first);
        }
      });

      it('never runs a source', async () => {
        const folder = await mkdtemp(path.join(os.tmpdir(), 'gantry-kit-'));
        try {
          const mark = path.join(folder, 'was-run');
          const write = `import { writeFileSync } from 'node:fs';\nwriteFileSync(${JSON.stringify(mark)}, 'x');\n`;
          await check(language, `${write}export default 1;\n`);
          expect(existsSync(mark)).to.equal(false);
        } finally {
          await rm(folder, { recursive: true });
        }
      });

      it('answers for a source with nothing in it, and for one that is no source', async () => {
        expect(await check(language, '')).to.be.an('array');
        const noise = '\u0000\u{1f4a5}\ud800 }{ <<< """\r\u2028`${';
        for (const problem of await check(language, noise)) proper(problem, noise);
      });
    });
  }

  it('keeps apart what is checked at once', async function () {
    this.timeout(120_000);
    const sources = samples.flatMap(({ language, right, wrong }) => [
      ...right.map((source) => ({ language, source, line: 0 })),
      ...wrong.map(({ source, line }) => ({ language, source, line })),
    ]);
    const twice = [...sources, ...[...sources].reverse()];
    const answers = await Promise.all(twice.map(({ language, source }) => check(language, source)));
    answers.forEach((problems, i) => {
      const { line, source } = twice[i] as { line: number; source: string };
      if (line === 0) expect(problems, source).to.deep.equal([]);
      else expect(problems.map(lineOf), source).to.include(line);
    });
  });

  it('says CHECK_FAILED before it is started, and after it is stopped', async () => {
    const { language, right } = samples[0] as CheckerSamples;
    const source = { file: 'kit', language, source: right[0] as string };
    const other = made();
    const early = other.cradle.checker;
    expect(await refusal(early.check(source))).to.include({ code: 'CHECK_FAILED', kind: 'unavailable' });
    await other.start();
    await other.stop();
    expect(await refusal(early.check(source))).to.include({ code: 'CHECK_FAILED', kind: 'unavailable' });
  });

  it('says CHECK_FAILED for what a stop breaks off, and does not hold the stop up', async () => {
    const { language, right } = samples[0] as CheckerSamples;
    const other = await made().start();
    const source = { file: 'kit', language, source: right[0] as string };
    const checks = Array.from({ length: 20 }, () => refused(other.cradle.checker.check(source)));
    await other.stop();
    for (const end of await Promise.all(checks)) {
      if (end !== null) expect(end).to.include({ code: 'CHECK_FAILED' });
    }
  });
}

/** `line:column` of a place that the source has, and words. */
function proper({ path: place, message }: Problem, source: string): void {
  expect(place).to.match(/^[1-9]\d*:[1-9]\d*$/);
  expect(message.trim()).to.not.equal('');
  const [line = 0, column = 0] = place.split(':').map(Number);
  const lines = source.split(/\r\n|[\n\r\u2028\u2029]/);
  expect(line).to.be.at.most(lines.length);
  expect(column).to.be.at.most((lines[line - 1] as string).length + 1);
}

function lineOf({ path: place }: Problem): number {
  return Number(place.split(':')[0]);
}

/** Null: it was answered. */
async function refused(answer: Promise<unknown>): Promise<GantryError | null> {
  try {
    await answer;
    return null;
  } catch (error) {
    if (isGantryError(error)) return error;
    throw error;
  }
}

async function refusal(answer: Promise<unknown>): Promise<GantryError> {
  const error = await refused(answer);
  if (error === null) throw new Error('It was answered');
  return error;
}
