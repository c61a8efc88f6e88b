/** Tells the parts of one process. A cluster needs a bus that reaches other servers; until it tells, they look every few seconds. */
import { definePlugin, Type } from '../../core/api.ts';
import type { BusEvent } from '../../core/ports/index.ts';

export default definePlugin({
  id: 'bus.memory',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create({ log }) {
    const listeners = new Set<(event: BusEvent) => void>();
    return {
      publish(event) {
        // Later, as from another server: who publishes never waits for who listens.
        setImmediate(() => {
          for (const listen of [...listeners]) {
            try {
              listen(event);
            } catch (error) {
              log.error({ error, topic: event.topic }, 'a listener of the bus threw');
            }
          }
        });
      },
      subscribe(listen) {
        // Each subscription is one of its own, whatever function it brings.
        const own = (event: BusEvent) => listen(event);
        listeners.add(own);
        return () => void listeners.delete(own);
      },
    };
  },
});
