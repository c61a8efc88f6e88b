/** Hot deploy by a folder: a file that is dropped there becomes a module, and every server runs it. */
import path from 'node:path';
import { definePlugin, GantryError, pause, Type, toGantryError } from '../../core/api.ts';
import { type Deployed, deploy, reasonsOf } from './deployment.ts';
import { type Dropped, PickupFolder } from './folder.ts';

/** How long a file waits at most until it is tried again. */
const LONGEST_MS = 2000;

export default definePlugin({
  id: 'feature.pickup',
  api: 1,
  config: Type.Object(
    {
      folder: Type.String({
        default: 'pickup',
        minLength: 1,
        description: "Where files are dropped: a path, relative to this server's data folder",
      }),
      pollMs: Type.Integer({
        default: 500,
        minimum: 20,
        maximum: 60_000,
        description: 'How often the folder is looked at; a file that stood still for so long is whole',
      }),
      maxBytes: Type.Integer({ default: 800_000, minimum: 1, maximum: 10_000_000, description: 'Of one file' }),
      kept: Type.Integer({
        default: 200,
        minimum: 0,
        maximum: 100_000,
        description: 'Files that stay in deployed/, and in refused/; older ones are removed',
      }),
    },
    { additionalProperties: false },
  ),
  needs: ['records', 'server'],
  create({ id, config, hooks, log, records, server }) {
    const { pollMs: stillMs, maxBytes, kept } = config;
    const folder = new PickupFolder({
      ...{ folder: path.resolve(server.data, config.folder), stillMs, maxBytes, kept, log },
    });
    const stopping = new AbortController();
    const { signal } = stopping;
    /** Files that wait for what is away now, by name. */
    const waiting = new Map<string, { readonly print: string; readonly attempt: number; readonly until: number }>();
    /** Files that were done with and could not be moved. */
    const stuck = new Map<string, string>();
    let running: Promise<void> | null = null;
    let trouble = '';

    hooks.ready.tapPromise(id, async () => {
      running = follow();
    });

    async function follow(): Promise<void> {
      while (!signal.aborted) {
        try {
          await look();
          trouble = '';
        } catch (error) {
          // The folder was taken away, perhaps; once for each reason.
          const reason = String((error as NodeJS.ErrnoException).code ?? error);
          if (reason !== trouble) log.error({ error }, 'the pick-up folder cannot be looked at');
          trouble = reason;
          await folder.prepare().catch(() => {});
        }
        await pause(config.pollMs, signal).catch(() => {});
      }
    }

    async function look(): Promise<void> {
      const all = await folder.complete();
      for (const map of [waiting, stuck]) {
        for (const name of map.keys()) if (!all.some((one) => one.name === name)) map.delete(name);
      }
      for (const dropped of all) {
        const { name, print } = dropped;
        const before = waiting.get(name);
        const isEarly = before?.print === print && performance.now() < before.until;
        if (isEarly || stuck.get(name) === print) continue;
        if (signal.aborted) return;
        await take(dropped);
      }
    }

    async function take(dropped: Dropped): Promise<void> {
      const { name } = dropped;
      const by = `pickup of ${server.name}`;
      try {
        const source = await folder.read(dropped);
        if (source === null) return;
        const done = await deploy(records, name, source, by);
        waiting.delete(name);
        tell(name, done);
        await moved(dropped, folder.deployed(dropped, done.version));
      } catch (thrown) {
        const error = toGantryError(thrown);
        if (error.retryable) return postpone(dropped, error);
        waiting.delete(name);
        log.warn({ file: name, error }, 'a dropped file was refused; refused/ tells why');
        await moved(dropped, folder.refused(dropped, reasonsOf(error, name, server.name, new Date())));
      }
    }

    function tell(file: string, { version, changed, problem }: Deployed): void {
      if (!changed) log.info({ file, version }, 'a dropped file says what the module says already');
      else if (problem === null) log.info({ file, version }, 'a dropped file was deployed');
      else
        log.warn(
          { file, version, problem },
          'a dropped file was kept as a module, and this server has not deployed it',
        );
    }

    function postpone({ name, print }: Dropped, error: GantryError): void {
      const before = waiting.get(name);
      const attempt = before?.print === print ? before.attempt + 1 : 1;
      if (attempt === 1) log.warn({ file: name, error }, 'a dropped file waits; it is tried again');
      const waitMs = Math.min(LONGEST_MS, config.pollMs * 2 ** Math.min(attempt - 1, 10));
      waiting.set(name, { print, attempt, until: performance.now() + waitMs });
    }

    /** It was done with: where it stays, it must not be taken again and again. */
    async function moved({ name, print }: Dropped, moving: Promise<void>): Promise<void> {
      try {
        await moving;
      } catch (error) {
        stuck.set(name, print);
        log.error({ file: name, error }, 'a dropped file was done with and cannot be moved; it stays until it changes');
      }
    }

    return {
      async start() {
        try {
          await folder.prepare();
        } catch (cause) {
          const { code } = cause as NodeJS.ErrnoException;
          throw new GantryError('PLUGIN_START_FAILED', `The pick-up folder cannot be made (${code})`, {
            cause,
            hint: `Make the data folder writable, or set folder of ${id}.`,
          });
        }
      },
      pause: () => stopping.abort(),
      async stop() {
        stopping.abort();
        await running;
      },
    };
  },
});
