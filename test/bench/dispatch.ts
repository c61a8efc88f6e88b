import { Child, SERVER_CPU } from './child.ts';
import type { Timed } from './dispatch-process.ts';
import { type Spread, shown, spread } from './figures.ts';
import type { Options } from './options.ts';
import { compileScript } from './scripts.ts';
import type { Section } from './table.ts';
import { BODY } from './work.ts';

const MOST = 2;

/** What a call costs without any transport, against the JSON work that no server can be without. */
export async function dispatch({ rounds, quick }: Options): Promise<Section> {
  const command = [process.execPath, await compileScript('dispatch-process')];
  const child = new Child('dispatch', command, { cpu: SERVER_CPU });
  const timed = await child.ask<Timed>({ rounds, calls: quick ? 20_000 : 100_000 });
  await child.stop();
  const [floor] = timed;
  const against = (us: readonly number[]): Spread => spread(us.map((one, i) => one / (floor?.us[i] ?? Number.NaN)));
  const judged = timed.find(({ goal }) => goal);
  return {
    title: 'Dispatch: a call without a transport',
    about: [
      `In one process: channel.run(new Call(...)) with a body of ${Buffer.byteLength(BODY)} bytes, against JSON.parse, the compiled input check,`,
      'the handler and JSON.stringify. Each is awaited, the way a transport would. The rounds go through all rows in turn.',
    ],
    tables: [
      {
        title: 'Median (least..most)',
        head: ['what runs', 'us per call', 'x the floor'],
        rows: timed.map(({ name, us }) => [name, shown(spread(us)), shown(against(us))]),
      },
    ],
    goals:
      judged === undefined
        ? []
        : [
            {
              text: `${judged.name}: at most ${MOST} x the floor`,
              measured: shown(against(judged.us)),
              met: against(judged.us).median <= MOST,
            },
          ],
  };
}
