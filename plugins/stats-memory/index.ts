/** Statistics of the services, kept in this process for as long as it runs. */
import { definePlugin, Type } from '../../core/api.ts';
import { ServiceMeter } from './meter.ts';

/** Where services beyond `maxServices` are counted together. */
const OTHER = '(other)';

export default definePlugin({
  id: 'stats.memory',
  api: 1,
  config: Type.Object(
    {
      maxServices: Type.Integer({
        minimum: 1,
        default: 10_000,
        description: `Services that are counted one by one, 7 kB each; the rest is counted as one, '${OTHER}'`,
      }),
    },
    { additionalProperties: false },
  ),
  create({ config: { maxServices }, log }) {
    const meters = new Map<string, ServiceMeter>();
    let named = 0;
    let full = false;

    const add = (service: string): ServiceMeter => {
      const made = new ServiceMeter(service);
      meters.set(service, made);
      return made;
    };
    const overflow = (service: string): ServiceMeter => {
      if (!full) log.warn({ maxServices, service }, `too many services: the rest is counted as '${OTHER}'`);
      full = true;
      return meters.get(OTHER) ?? add(OTHER);
    };

    return {
      meter(service: string) {
        const known = meters.get(service);
        if (known !== undefined) return known;
        if (service === OTHER) return add(OTHER);
        if (named === maxServices) return overflow(service);
        named++;
        return add(service);
      },
      snapshot: () => Array.from(meters.values(), (meter) => meter.snapshot()),
    };
  },
});
