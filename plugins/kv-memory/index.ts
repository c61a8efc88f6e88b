/** Keys of one process, kept for as long as it runs. A cluster needs a store that its servers share. */
import { definePlugin, Type } from '../../core/api.ts';
import { Entries } from './entries.ts';
import { MemoryStore } from './store.ts';

/** What is over is not given any more at once; this is how soon its room is free. */
const SWEEP_MS = 1000;

export default definePlugin({
  id: 'kv.memory',
  api: 1,
  config: Type.Object(
    {
      maxBytes: Type.Integer({
        default: 134_217_728,
        minimum: 1_000_000,
        description:
          'Of all keys with their contents, about. Beyond it nothing is added, and nothing that is there goes',
      }),
    },
    { additionalProperties: false },
  ),
  create({ config: { maxBytes } }) {
    const entries = new Entries(maxBytes);
    let timer: NodeJS.Timeout | null = null;
    return Object.assign(new MemoryStore(entries), {
      async start() {
        timer = setInterval(() => entries.sweep(), SWEEP_MS);
        timer.unref();
      },
      async stop() {
        if (timer !== null) clearInterval(timer);
      },
    });
  },
});
