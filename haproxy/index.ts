/** The balancer port on HAProxy: https://www.haproxy.org. See docs/balancer.md. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { definePlugin, GantryError, type Logger, type ServerInfo, type Static } from 'gantry/api';
import { Config } from './config.ts';
import { Configuration } from './configuration.ts';
import { HAProxy } from './haproxy.ts';
import { Kept } from './kept.ts';
import { LogFile } from './log-file.ts';
import { OwnProcess } from './own-process.ts';
import { makePlace, type Place, placeOf } from './place.ts';
import { findProgram } from './program.ts';
import type { Surroundings } from './rendering.ts';
import { SystemdUnit } from './systemd-unit.ts';

type Settings = Readonly<Static<typeof Config>>;

export default definePlugin({
  id: 'balancer.haproxy',
  api: 1,
  config: Config,
  needs: ['server'],
  create({ config, log, server }) {
    let haproxy: HAProxy | null = null;
    let logFile: LogFile | null = null;
    const started = (): HAProxy => {
      if (haproxy !== null) return haproxy;
      throw new GantryError('BALANCER_FAILED', 'balancer.haproxy is not started, or has ended');
    };
    return {
      check: async (state) => started().check(state),
      apply: async (state) => started().apply(state),
      status: async () => started().status(),
      source: async (state) => started().source(state),
      show: async (what) => started().show(what),
      launch: async () => started().launch(),
      halt: async () => started().halt(),
      reload: async () => started().reload(),

      async start() {
        const place = placeIn(config, server);
        await makePlace(place);
        // From here on stop() knows of it, also where this takes too long.
        const lines = new LogFile(place, log);
        haproxy = await open(config, place, lines, log);
        if (config.managed === 'own') {
          logFile = lines;
          await lines.begin();
        }
        await haproxy.begin();
      },
      async stop() {
        const ending = haproxy;
        haproxy = null;
        await ending?.end(config.stopWithUs && config.managed === 'own');
        await logFile?.end();
      },
    };
  },
});

function placeIn({ folder, sockets, managed, file }: Settings, server: ServerInfo): Place {
  return placeOf(path.resolve(server.data, folder), sockets, managed === 'systemd' ? file : null);
}

async function open(config: Settings, place: Place, logFile: LogFile, log: Logger): Promise<HAProxy> {
  const { program, version } = await findProgram(config.program);
  const { stopMs, unit } = config;
  const kept = new Kept(place.kept, log);
  await kept.load();
  const isOurs = config.managed === 'own';
  const around: Surroundings = {
    template: await readFile(path.join(import.meta.dirname, 'haproxy.cfg.template'), 'utf8'),
    socket: place.socket,
    states: place.states,
    // Systemd starts it as root, and we may be someone else.
    uid: isOurs ? null : (process.getuid?.() ?? null),
    user: config.user,
    group: config.group,
    serverCa: config.serverCa,
    oldWorkersMs: config.oldWorkersMs,
    maxFiles: isOurs ? await mostFiles() : null,
  };
  const runner = isOurs
    ? new OwnProcess({ program, place, stopMs, logFile, log })
    : new SystemdUnit(unit, place.socket);
  return new HAProxy({ place, version, configuration: new Configuration(program, place, around), kept, runner, log });
}

/** How many files a process of ours may open; Node knows no better way. */
async function mostFiles(): Promise<number | null> {
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', 'ulimit -Hn']).catch(() => ({ stdout: '' }));
  const most = Number(stdout.trim());
  return Number.isSafeInteger(most) && most > 0 ? most : null;
}
