/** Jobs in the short form of `npm run chaos`: the same faults, fewer and briefer, and what must hold on any machine. */
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import { CLUSTER, type JobScenario } from '../chaos/jobs/scenario.ts';
import { JOB_SCENARIOS } from '../chaos/jobs/scenarios.ts';
import { JobsWorld, type WorldOptions } from '../chaos/jobs/world.ts';
import { asText, type Outcome } from '../chaos/outcome.ts';
import { faketime } from '../engines/faketime.ts';
import { needs, ownMariadb, postgres, redis } from '../engines/index.ts';

/**
 * What is done at the same time, since most of it is waiting. Each lane has its installations to itself, and goes through
 * them one after the other.
 */
const LANES = [
  ['jobs', 'jobs-idle', 'jobs-kill', 'jobs-stop', 'jobs-freeze', 'jobs-durable'],
  ['jobs-slow-database', 'jobs-database', 'jobs-many', 'jobs-clock'],
  ['jobs-sqlite', 'jobs-mariadb', 'jobs-sqlite-clock', 'jobs-database-clock'],
] as const;

describe('jobs, while things are done to their servers', function () {
  this.timeout(400_000);
  needs(redis);
  needs(postgres);
  const running = new Map<string, Promise<Outcome | string>>();
  const lanes: Promise<void>[] = [];
  before(() => {
    for (const lane of LANES) lanes.push(follow(lane, running));
  });
  after(() => Promise.all(lanes));

  it('has a lane for each scenario', () => {
    expect(LANES.flat().sort()).to.deep.equal(Object.keys(JOB_SCENARIOS).sort());
  });

  for (const name of LANES.flat()) {
    it(`keeps what is promised: ${name}`, async function () {
      const outcome = await (running.get(name) as Promise<Outcome | string>);
      if (typeof outcome === 'string') {
        process.stderr.write(`      SKIPPED: ${outcome}\n`);
        return this.skip();
      }
      const broken = outcome.checks.filter(({ strict, met }) => strict && !met);
      expect(
        broken.map(({ text, measured }) => `${text}: ${measured}`),
        asText(outcome),
      ).to.deep.equal([]);
      expect(outcome.checks.filter(({ strict }) => strict)).to.not.equal([]);
      process.stderr.write(`      ${outcome.title}: ${outcome.about[0]}\n`);
    });
  }
});

/** One after the other; one that fails does not keep the next ones from being done. */
function follow(lane: readonly string[], running: Map<string, Promise<Outcome | string>>): Promise<void> {
  let world: JobsWorld | null = null;
  const on = async (options: WorldOptions): Promise<JobsWorld> => {
    if (world !== null && isDeepStrictEqual(world.options, options)) return world;
    await world?.close();
    world = null;
    return (world = await JobsWorld.open(options));
  };
  let last: Promise<unknown> = Promise.resolve();
  for (const name of lane) {
    const scenario = JOB_SCENARIOS[name] as JobScenario;
    const done = last.then(async () => {
      const missing = await missingFor(scenario.world);
      if (missing !== null) return missing;
      try {
        return await scenario.run(await on(briefly(scenario.world)), scenario.short);
      } catch (error) {
        // Nobody knows what is left of the installation.
        await (world as JobsWorld | null)?.close();
        world = null;
        throw error;
      }
    });
    running.set(name, done);
    last = done.catch(() => {});
  }
  return last.then(async () => (world as JobsWorld | null)?.close());
}

/** What is not measured may share one installation. */
function briefly(options: WorldOptions): WorldOptions {
  const isAlike = isDeepStrictEqual({ ...options, proxied: CLUSTER.proxied }, CLUSTER);
  return isAlike ? CLUSTER : options;
}

/** Why it cannot run here; null: it can. On CI that is an error. */
async function missingFor({ store, clocks }: WorldOptions): Promise<string | null> {
  if (clocks !== 'none' && faketime() === null) return 'libfaketime is not installed';
  if (store === 'mariadb' && (await ownMariadb()) === null) return 'MariaDB is not installed';
  return null;
}
