/** A process of its own that makes effects until it is killed: it tells each that it was told of. */
import { openServer } from './odb-plugins.ts';

export interface EffectOrder {
  readonly dialect: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Begins that of this key, and does not end it. */
  readonly hold?: string;
  /** Makes those of `<prefix> 0`, `<prefix> 1` ... */
  readonly prefix?: string;
}
/** The number of an effect, or 'held'. */
export type EffectReport = number | 'held';

const INSERT = 'INSERT INTO test_effects (id, n) VALUES ($1, $2)';

process.on('message', async ({ dialect, config, hold, prefix }: EffectOrder) => {
  const { odb } = await openServer(dialect, config);
  const tell = (report: EffectReport) => process.send?.(report);
  if (hold !== undefined) {
    await odb.once(hold, async (run) => {
      await run(INSERT, [hold, process.pid]);
      tell('held');
      await new Promise(() => {});
    });
  }
  for (let n = 0; ; n++) {
    const key = `${prefix} ${n}`;
    await odb.once(key, (run) => run(INSERT, [key, process.pid]));
    tell(n);
  }
});
