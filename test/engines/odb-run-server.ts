/** A process of its own that holds a lease, and adds and ends runs under it until it is killed or has lost it. */
import { endOf, freshRuns } from '../kit/odb-run-world.ts';
import { openServer } from './odb-plugins.ts';

export interface RunOrder {
  readonly dialect: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly lease: string;
  readonly forMs: number;
  /** Of the job of each batch: `<prefix> 0`, `<prefix> 1` ... */
  readonly prefix: string;
}
/** The number of a batch that was added, or the code of what refused it. */
export type RunReport = number | string;

export const BATCH = 20;
export const HOLDER = 'the child';

process.on('message', async ({ dialect, config, lease, forMs, prefix }: RunOrder) => {
  const { odb } = await openServer(dialect, config);
  const { epoch } = await odb.leases.take(lease, { holder: HOLDER, server: 'child' }, forMs);
  const fence = { lease, holder: HOLDER, epoch };
  const tell = (report: RunReport) => process.send?.(report);
  for (let n = 0; ; n++) {
    const by = { owner: HOLDER, server: 'child', epoch, now: Date.now() };
    const runs = freshRuns(`${prefix} ${n}`, BATCH).map((run) => ({ ...run, by }));
    try {
      await odb.runs.add(runs, fence);
      tell(n);
      // Every second batch stays open.
      const ends = runs.map((run) => endOf(run));
      if (n % 2 === 0) await odb.runs.end(ends, HOLDER, fence);
      await odb.leases.renew([{ ...fence, name: lease, forMs, mark: n }]);
    } catch (error) {
      tell((error as { code: string }).code);
      return;
    }
  }
});
