/** Lets the bench, by IPC, bind channels anew while calls run, and ask for the heap after a collection. */
import { definePlugin, Type } from 'gantry/api';
import type { ChannelDefinition } from 'gantry/parts';

export interface Command {
  readonly rebind?: { readonly definitions: readonly ChannelDefinition[]; readonly batch: number };
  readonly stop?: true;
  readonly heap?: true;
}
export interface Rebound {
  readonly channels: number;
  readonly busyMs: number;
}
export interface Heap {
  readonly heapBytes: number;
  readonly rssBytes: number;
}

export default definePlugin({
  id: 'feature.control',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  needs: ['channels'],
  create({ channels }) {
    let going = false;
    let done = 0;
    let busyMs = 0;

    function rebind({ definitions, batch }: NonNullable<Command['rebind']>): void {
      const bound = new Set(channels.list().map(({ name }) => name));
      for (const definition of definitions) if (!bound.has(definition.name)) channels.bind(definition);
      going = true;
      done = 0;
      busyMs = 0;
      const turn = () => {
        if (!going) return;
        const startedAt = performance.now();
        for (let i = 0; i < batch; i++) {
          const definition = definitions[done++ % definitions.length] as ChannelDefinition;
          channels.unbind(definition.name);
          channels.bind(definition);
        }
        busyMs += performance.now() - startedAt;
        setImmediate(turn);
      };
      setImmediate(turn);
    }

    function answer(command: Command): object {
      if (command.rebind !== undefined) rebind(command.rebind);
      if (command.stop === true) going = false;
      if (command.heap === true) {
        const collect = (globalThis as { gc?: () => void }).gc;
        for (let i = 0; i < 3; i++) collect?.();
        const { heapUsed, rss } = process.memoryUsage();
        return { heapBytes: heapUsed, rssBytes: rss } satisfies Heap;
      }
      return { channels: done, busyMs } satisfies Rebound;
    }

    const hear = (command: Command) => void process.send?.(answer(command));
    return {
      async start() {
        process.on('message', hear);
      },
      async stop() {
        going = false;
        process.off('message', hear);
      },
    };
  },
});
