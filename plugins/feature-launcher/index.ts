/** The one-machine quickstart: starts and supervises a whole cluster as processes of its own, and ends all of it. */
import path from 'node:path';
import { definePlugin } from '../../core/api.ts';
import { Config } from './config.ts';
import { databaseOf } from './database.ts';
import { Launch } from './launch.ts';
import { refuseDoubles } from './plan.ts';

export default definePlugin({
  id: 'feature.launcher',
  api: 1,
  config: Config,
  needs: ['server'],
  create({ id, config, hooks, log, server }) {
    const folder = path.resolve(server.data, config.folder);
    // What is wrong here is told by `gantry check`, too.
    refuseDoubles(config, id);
    const database = databaseOf(config.databaseUrl, folder, id);
    const launch = new Launch({ id, config, folder, database, log });
    // The servers end here, while their last calls are answered, and in stop() the rest.
    hooks.draining.tapPromise(id, () => launch.end());
    return {
      start: () => launch.start(),
      stop: () => launch.close(),
    };
  },
});
