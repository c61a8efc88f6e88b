/** This server: what it is, and how it does. */
import { defineService, type Records, Type } from 'gantry/api';

const RecordsState = Type.Object({
  revision: Type.Integer({ description: 'The change that this server runs with' }),
  source: Type.Union([Type.Literal('database'), Type.Literal('snapshot'), Type.Literal('none')]),
  staleSince: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
  problem: Type.Union([Type.String(), Type.Null()]),
  refused: Type.Array(Type.Object({ kind: Type.String(), name: Type.String(), problem: Type.String() })),
  counts: Type.Record(Type.String(), Type.Integer()),
});

const info = defineService({
  name: 'gantry.server.info',
  description: 'What this server is and runs with',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({
    name: Type.String(),
    version: Type.String(),
    state: Type.String(),
    startedAt: Type.String({ format: 'date-time' }),
    uptimeMs: Type.Number(),
    pid: Type.Integer(),
    node: Type.String(),
    memory: Type.Object({ residentBytes: Type.Integer(), heapUsedBytes: Type.Integer() }),
    services: Type.Integer(),
    connections: Type.Integer(),
    records: Type.Union([RecordsState, Type.Null()]),
  }),
  create: ({ server, services, connections, records }) => {
    return () => {
      const { rss, heapUsed } = process.memoryUsage();
      return {
        name: server.name,
        version: server.version,
        state: server.state,
        startedAt: server.startedAt.toISOString(),
        uptimeMs: Date.now() - server.startedAt.getTime(),
        pid: process.pid,
        node: process.version,
        memory: { residentBytes: rss, heapUsedBytes: heapUsed },
        services: services.names().length,
        connections: connections.list().length,
        records: statusOf(records),
      };
    };
  },
});

const health = defineService({
  name: 'gantry.server.health',
  description: 'Whether this server has all that it works with; it serves on without some of it',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({
    healthy: Type.Boolean(),
    checks: Type.Array(
      Type.Object({ name: Type.String(), healthy: Type.Boolean(), problem: Type.Optional(Type.String()) }),
    ),
  }),
  create: ({ server, connections, records, kv, cluster, stats, scheduler }) => {
    return () => {
      const status = records?.status() ?? null;
      const checks = [
        check('server', server.unfit),
        ...(kv === null ? [] : [check('key-value store', kv.problem?.message ?? null)]),
        ...(cluster === null ? [] : [check('cluster', cluster.problem?.message ?? null)]),
        ...(stats?.problem === undefined ? [] : [check('statistics', stats.problem?.message ?? null)]),
        ...(status === null
          ? []
          : [
              check('database', status.problem),
              check(
                'records',
                status.refused.length === 0 ? null : `${status.refused.length} could not be put into effect`,
              ),
            ]),
        // A job that should have run and did not is in it; one that ran and failed is no problem of a server.
        ...(scheduler === null ? [] : [check('scheduler', scheduler.problem?.message ?? null)]),
        ...connections.list().map(({ name, up }) => check(`connection ${name}`, up ? null : 'is down')),
      ];
      return { healthy: checks.every(({ healthy }) => healthy), checks };
    };
  },
});

function check(name: string, problem: string | null) {
  return { name, healthy: problem === null, ...(problem === null ? {} : { problem }) };
}

function statusOf(records: Records | null) {
  if (records === null) return null;
  const { refused, counts, ...status } = records.status();
  return { ...status, refused: refused.map((one) => ({ ...one })), counts: { ...counts } };
}

export default [info, health];
