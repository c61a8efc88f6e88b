/** Keys for all servers of a cluster, in Redis: one server, a master that sentinels know, or a cluster. */
import { definePlugin, GantryError, Type } from '../../core/api.ts';
import { connectionKeys, open, problemsOf, whereOf } from '../_redis/connection.ts';
import { Link } from '../_redis/link.ts';
import { prepare, RedisStore } from './store.ts';

export default definePlugin({
  id: 'kv.redis',
  api: 1,
  config: Type.Object({ ...connectionKeys }, { additionalProperties: false }),
  needs: ['server'],
  create({ id, config, log, server }) {
    const problems = problemsOf(id, config);
    if (problems.length > 0) throw new GantryError('CONFIG_INVALID', 'Redis cannot be reached this way', { problems });
    const link = new Link({
      log,
      what: 'The key-value store',
      where: whereOf(config),
      code: 'KV_UNAVAILABLE',
      commandTimeoutMs: config.commandTimeoutMs,
      open: (attempt) => open(config, `gantry:${server.name}:${id}`, attempt),
      prepare,
    });
    return new RedisStore(link, config.prefix);
  },
});
