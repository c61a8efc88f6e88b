import { expect } from 'chai';
import type { Stats } from '../../core/api.ts';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import plugin from '../../plugins/stats-memory/index.ts';
import { testStats } from '../kit/stats.ts';

const ID = 'stats.memory';

describe(ID, () => {
  // Buckets are 1/32 of their doubling wide.
  testStats({ plugin, config: {}, relativeError: 1 / 32, resolutionMs: 0.008 });

  describe('maxServices', () => {
    it('counts services beyond it as one, and says so once', () => {
      const { stats, lines } = build({ maxServices: 2 });
      for (const name of ['a', 'b', 'c', 'd', 'a']) stats.meter(name).record(1, name === 'd');
      expect(stats.meter('c')).to.equal(stats.meter('d'));
      expect(stats.snapshot().map((s) => [s.service, s.calls, s.failures])).to.deep.equal([
        ['a', 2, 0],
        ['b', 1, 0],
        ['(other)', 2, 1],
      ]);
      expect(lines).to.have.lengthOf(1);
      expect(lines[0]).to.include({ plugin: ID, level: 'warn', maxServices: 2, service: 'c' });
    });

    it('holds however many names come', () => {
      const { stats } = build({ maxServices: 5 });
      for (let i = 0; i < 1000; i++) stats.meter(`service.${i}`).record(1, false);
      const all = stats.snapshot();
      expect(all).to.have.lengthOf(6);
      expect(all.reduce((sum, s) => sum + s.calls, 0)).to.equal(1000);
    });

    it('has one entry for a service that is really named (other)', () => {
      const { stats, lines } = build({ maxServices: 1 });
      for (const name of ['(other)', 'a', 'b']) stats.meter(name).record(1, false);
      expect(stats.snapshot().map((s) => [s.service, s.calls])).to.deep.equal([
        ['(other)', 2],
        ['a', 1],
      ]);
      expect(lines).to.have.lengthOf(1);
    });

    it('is refused where it is no number of services', () => {
      for (const maxServices of [0, -1, 1.5, 'many']) {
        expect(() => build({ maxServices }))
          .to.throw()
          .with.property('code', 'CONFIG_INVALID');
      }
      expect(() => build({ maxService: 5 }))
        .to.throw()
        .with.property('code', 'CONFIG_INVALID');
    });
  });

  it('shows a service that was not called yet with zeros', () => {
    const { stats } = build({});
    stats.meter('idle');
    const [idle] = stats.snapshot();
    expect(idle).to.include({ calls: 0, failures: 0, minMs: 0, meanMs: 0, maxMs: 0, sumMs: 0 });
    expect(idle?.latency.quantile(0.99)).to.equal(0);
  });

  it('makes no object while it records', function () {
    this.timeout(10_000);
    const { stats } = build({});
    const meter = stats.meter('hot');
    // Objects hold their numbers boxed: handing one on makes no new box, which would be the caller's.
    const times = Array.from({ length: 1000 }, (_, i) => ({ ms: (i + 1) ** 2 / 100 }) as { ms: unknown });
    (times[0] as { ms: unknown }).ms = 'no number';
    const rounds = (n: number) => {
      for (let i = 0; i < n; i++) for (const one of times) meter.record(one.ms as number, false);
    };
    rounds(500);
    // The best of a few: only the compiler's own work may add to one of them.
    const grown = Array.from({ length: 5 }, () => {
      const before = process.memoryUsage().heapUsed;
      rounds(200);
      return Math.abs(process.memoryUsage().heapUsed - before);
    });
    // 200 000 records of one number object each would be more than 2 MB.
    expect(Math.min(...grown)).to.be.below(100_000);
  });
});

function build(config: object): { stats: Stats; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logs = new Logs({ level: 'info', to: { write: (line) => void lines.push(JSON.parse(line)) } });
  const kernel = new Kernel({ logs }).create([{ id: ID, plugin, config: { ...config } }]);
  return { stats: kernel.cradle.stats, lines };
}
