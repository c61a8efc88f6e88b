import { expect } from 'chai';
import { simulate } from './fixtures/world.ts';

/** How many worlds are tried; another seed makes others of them. */
const SEEDS = Number(process.env['GANTRY_TEST_SEEDS'] ?? 1000);
const ONLY = process.env['GANTRY_TEST_SEED'];
/** Of what led to a failure. */
const MOST_LINES = 400;

describe('scheduler.agenda in worlds where all goes wrong', function () {
  this.timeout(Math.max(120_000, SEEDS * 200));

  it('are the same for the same seed: no real time and no real chance is in them', async () => {
    const told = async (seed: number) => {
      const lines: string[] = [];
      // Tokens of what is asked for by hand are random, and nothing goes by them.
      await simulate(seed, (line) => void lines.push(line.replaceAll(/\b[0-9a-f]{6}(?=\/)|[0-9a-f]{32}/g, 'token')));
      return lines;
    };
    for (const seed of [1, 2, 3]) {
      const lines = await told(seed);
      expect(lines.length).to.be.above(100);
      expect(await told(seed)).to.deep.equal(lines);
    }
  });

  it(`starts nothing twice, loses nothing and is never stuck${ONLY === undefined ? ` (${SEEDS} seeds)` : ''}`, async () => {
    const [first, last] = ONLY === undefined ? [1, SEEDS] : [Number(ONLY), Number(ONLY)];
    const told = { starts: 0, events: 0, longestVacancyMs: 0 };
    for (let seed = first; seed <= last; seed++) {
      const { starts, events, longestVacancyMs } = await tried(seed);
      told.starts += starts;
      told.events += events;
      told.longestVacancyMs = Math.max(told.longestVacancyMs, longestVacancyMs);
    }
    console.log(
      `      ${told.starts} runs in ${told.events} events; nobody had the scheduler for at most ${Math.round(told.longestVacancyMs)} ms`,
    );
  });
});

async function tried(seed: number) {
  try {
    return await simulate(seed);
  } catch (failure) {
    const lines: string[] = [];
    // The same once more, to tell what led there.
    await simulate(seed, (line) => void lines.push(line)).catch(() => {});
    const trace = lines.slice(-MOST_LINES).join('\n');
    throw new Error(`GANTRY_TEST_SEED=${seed}: ${(failure as Error).message}\n${trace}`, { cause: failure });
  }
}
