import { defineService, Type } from 'gantry/api';
import type { HistoryQuery } from 'gantry/ports';
import { using } from './_kind.ts';

const Time = Type.String({ format: 'date-time' });

export default defineService({
  name: 'gantry.audit.list',
  description: 'Who changed what and when, with before and after; the newest first',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({
    kind: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    action: Type.Optional(Type.Union([Type.Literal('create'), Type.Literal('update'), Type.Literal('remove')])),
    changedBy: Type.Optional(Type.String()),
    cid: Type.Optional(Type.String({ description: 'The id of the call that made the change' })),
    from: Type.Optional(Time),
    until: Type.Optional(Time),
    search: Type.Optional(Type.String({ maxLength: 200, description: 'A part of the name, or of before or after' })),
    ascending: Type.Optional(Type.Boolean({ default: false })),
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
  }),
  output: Type.Object({
    items: Type.Array(
      Type.Object({
        revision: Type.Integer(),
        action: Type.String(),
        kind: Type.String(),
        name: Type.String(),
        version: Type.Integer(),
        changedAt: Time,
        changedBy: Type.String(),
        cid: Type.Union([Type.String(), Type.Null()]),
        before: Type.Unknown({ description: 'Without secrets; null for a created one' }),
        after: Type.Unknown({ description: 'Without secrets; null for a removed one' }),
      }),
    ),
    next: Type.Union([Type.String(), Type.Null()]),
    total: Type.Integer(),
  }),
  create: ({ records }) => {
    return async ({ from, until, limit = 50, ...rest }) => {
      const query = {
        ...rest,
        limit,
        ...(from === undefined ? {} : { from: new Date(from) }),
        ...(until === undefined ? {} : { until: new Date(until) }),
      } as HistoryQuery;
      const { items, next, total } = await using(records).history(query);
      return { items: items.map((one) => ({ ...one, changedAt: one.changedAt.toISOString() })), next, total };
    };
  },
});
