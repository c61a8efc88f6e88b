/** Tells every server of the cluster through Redis' publish and subscribe. While Redis is away it tells this server alone. */
import { randomUUID } from 'node:crypto';
import { definePlugin, GantryError, type Logger, Type } from '../../core/api.ts';
import type { BusEvent } from '../../core/ports/index.ts';
import { type Client, connectionKeys, open, problemsOf, whereOf } from '../_redis/connection.ts';
import { Link, type LinkParts } from '../_redis/link.ts';
import { read, write } from './message.ts';

/** Published and not answered yet. Beyond it only the newest hint is kept: it says all that those before it said. */
const UNDER_WAY = 1000;

export default definePlugin({
  id: 'bus.redis',
  api: 1,
  config: Type.Object({ ...connectionKeys }, { additionalProperties: false }),
  needs: ['server'],
  create({ id, config, log, server }) {
    const problems = problemsOf(id, config);
    if (problems.length > 0) throw new GantryError('CONFIG_INVALID', 'Redis cannot be reached this way', { problems });
    const channel = `${config.prefix}bus`;
    /** This process: what comes back from Redis was told here already. */
    const sender = randomUUID();
    const listeners = new Set<(event: BusEvent) => void>();
    let underWay = 0;
    let kept: BusEvent | null = null;
    let refused = false;

    const tell = (event: BusEvent) => {
      for (const listen of [...listeners]) {
        try {
          listen(event);
        } catch (error) {
          log.error({ error, topic: event.topic }, 'a listener of the bus threw');
        }
      }
    };
    const hear = (text: string) => {
      const message = read(text);
      if (typeof message === 'string') log.debug({ channel, why: message }, 'a message on the bus was not understood');
      else if (message.sender !== sender) tell(message.event);
    };
    const keep = (event: BusEvent) => {
      if (kept === null || event.revision >= kept.revision) kept = event;
    };
    const send = async (event: BusEvent) => {
      if (underWay >= UNDER_WAY) return keep(event);
      underWay++;
      try {
        await publishing.run((redis) => redis.publish(channel, write({ event, sender })));
        if (kept !== null && kept.revision <= event.revision) kept = null;
        refused = false;
      } catch (error) {
        keep(event);
        if (!refused && isRefusal(error)) log.warn({ error }, 'Redis takes no messages for the bus');
        refused ||= isRefusal(error);
      } finally {
        underWay--;
      }
      // What came while too many were under way.
      if (underWay === 0 && kept !== null && publishing.isUp && !refused) sendKept();
    };
    const sendKept = () => {
      const event = kept;
      kept = null;
      if (event !== null) void send(event);
    };

    const linked = (purpose: string, parts: Pick<LinkParts, 'log' | 'up'> & Partial<Pick<LinkParts, 'prepare'>>) =>
      new Link({
        what: 'The bus',
        where: whereOf(config),
        code: 'UNAVAILABLE',
        commandTimeoutMs: config.commandTimeoutMs,
        open: (attempt) => open(config, `gantry:${server.name}:${id}:${purpose}`, attempt, true),
        ...parts,
      });
    const hearing = linked('hear', {
      log,
      prepare: async (redis: Client) => {
        redis.on('message', (_: string, text: string) => hear(text));
        await redis.subscribe(channel);
      },
      up() {
        // Something may have been said before: who listens looks once, and a revision of 0 makes nobody wait for one.
        tell({ topic: 'changed', revision: 0, from: server.name });
      },
    });
    const publishing = linked('publish', { log: whispered(log), up: sendKept });

    return {
      publish(event) {
        setImmediate(() => {
          tell(event);
          void send(event);
        });
      },
      subscribe(listen) {
        // Each subscription is one of its own, whatever function it brings.
        const own = (event: BusEvent) => listen(event);
        listeners.add(own);
        return () => void listeners.delete(own);
      },
      async start() {
        await Promise.all([hearing.start(), publishing.start()]);
      },
      async stop() {
        await Promise.all([hearing.stop(), publishing.stop()]);
      },
    };
  },
});

/** Whether Redis answered, and said no. */
function isRefusal(error: unknown): boolean {
  return (error as { cause?: { name?: string } }).cause?.name === 'ReplyError';
}

/** Both connections are lost at once: one of them tells. */
function whispered(log: Logger): Logger {
  return {
    ...log,
    warn: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.debug(fields, message),
  };
}
