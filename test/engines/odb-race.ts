import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect } from 'chai';
import { MIGRATIONS } from '../../plugins/odb-sequelize/migrations/index.ts';
import { openServer } from './odb-plugins.ts';
import type { Order, Report } from './odb-server.ts';

/** How often in each run; twenty times by hand. */
const ROUNDS = Number(process.env['GANTRY_TEST_ROUNDS'] ?? 5);

/** Two processes start at once on an empty database: the tables are made once, and both serve. */
export function testRace(dialect: string, fresh: () => Promise<Readonly<Record<string, unknown>>>): void {
  describe('two servers that start at once on an empty database', () => {
    const children: ChildProcess[] = [];
    before(() => {
      const file = path.join(import.meta.dirname, 'odb-server.ts');
      for (let i = 0; i < 2; i++) children.push(fork(file, { execArgv: ['--import', 'tsx'] }));
    });
    after(() => {
      for (const child of children) child.kill('SIGKILL');
    });
    const obey = async (child: ChildProcess, order: Order): Promise<Report> => {
      child.send(order);
      const [report] = (await once(child, 'message')) as [Report];
      return report;
    };

    it(`migrate once and both serve, ${ROUNDS} times of ${ROUNDS}`, async function () {
      this.timeout(30_000 + ROUNDS * 3000);
      const names = MIGRATIONS.map((m) => m.name);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const config = await fresh();
        const began = performance.now();
        const reports = await Promise.all(
          children.map((child, i) => obey(child, { dialect, config, name: `server${i}` })),
        );
        times.push(performance.now() - began);
        const told = `round ${round}: ${JSON.stringify(reports)}`;
        for (const { failure } of reports) expect(failure, told).to.equal(undefined);
        expect(reports.flatMap((r) => r.migrated ?? []).toSorted(), told).to.deep.equal(names);
        expect(reports.map((r) => r.revision).toSorted(), told).to.deep.equal([1, 2]);
        await look(config);
      }
      const [least, most] = [Math.min(...times.slice(1)), Math.max(...times.slice(1))];
      process.stdout.write(`      (${ROUNDS} rounds, ${Math.round(least)} to ${Math.round(most)} ms each)\n`);
    });

    /** A third server finds both records and nothing to migrate. */
    const look = async (config: Readonly<Record<string, unknown>>) => {
      const server = await openServer(dialect, config);
      const { records } = await server.odb.load(['race']);
      expect(records.map((r) => r.name)).to.deep.equal(['server0', 'server1']);
      expect(await server.odb.revision()).to.equal(2);
      expect(server.migrated()).to.deep.equal([]);
      await server.stop();
    };
  });
}
