import { simulate } from '../fixtures/scheduler/world.ts';

/** How many worlds are tried; another seed makes others of them. */
const SEEDS = Number(process.env['GANTRY_TEST_SEEDS'] ?? 1000);
const ONLY = process.env['GANTRY_TEST_SEED'];
/** Of what led to a failure. */
const MOST_LINES = 400;

describe('scheduler.agenda in worlds where all goes wrong', function () {
  this.timeout(Math.max(120_000, SEEDS * 200));

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
