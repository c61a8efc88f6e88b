/** The short form of `npm run chaos`: the same faults, fewer and briefer, and what must hold on any machine. */
import { expect } from 'chai';
import { asText, type Outcome } from '../chaos/outcome.ts';
import type { Scenario, Terms } from '../chaos/scenario.ts';
import { SCENARIOS } from '../chaos/scenarios.ts';
import { World } from '../chaos/world.ts';
import { haproxy } from '../engines/haproxy.ts';
import { needs, ownPostgres, redis } from '../engines/index.ts';

const SHORT: Terms = {
  perSecond: 100,
  seconds: 3,
  kills: 2,
  turns: 1,
  awayMs: 3000,
  rolls: 1,
  reloads: 3,
  changes: 30,
  deploys: 2,
  rounds: 1,
};
/** Figures of what it costs promise nothing. */
const NAMES = Object.keys(SCENARIOS).filter((name) => name !== 'overhead');

describe('a cluster behind HAProxy, under load', function () {
  this.timeout(300_000);
  needs(redis);
  needs(ownPostgres);
  let world: World;
  before(async function () {
    if ((await haproxy()) === null) this.skip();
    world = await World.open();
  });
  after(() => world?.close());

  for (const name of NAMES) {
    it(`loses nothing: ${name}`, async () => {
      const outcome = await (SCENARIOS[name] as Scenario)(world, SHORT);
      const broken = outcome.checks.filter(({ strict, met }) => strict && !met);
      expect(
        broken.map(({ text, measured }) => `${text}: ${measured}`),
        asText(outcome),
      ).to.deep.equal([]);
      process.stderr.write(`      ${summaryOf(outcome)}\n`);
    });
  }
});

function summaryOf({ title, about }: Outcome): string {
  return `${title}: ${about.find((line) => line.includes('requests in')) ?? ''}`;
}
