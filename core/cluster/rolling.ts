import { type Static, Type } from 'typebox';

const Time = Type.String({ format: 'date-time' });
const TimeOrNull = Type.Union([Time, Type.Null()]);

/**
 * A rolling restart, as it is kept for the whole cluster: whoever asks for it writes it, an agent does it, and every agent
 * takes the calls from the server whose turn it is.
 */
export const Roll = Type.Object({
  id: Type.String(),
  state: Type.Union([
    Type.Literal('waiting', { description: 'No agent has begun yet' }),
    Type.Literal('running'),
    Type.Literal('done'),
    Type.Literal('failed'),
    Type.Literal('cancelled'),
  ]),
  requestedBy: Type.String(),
  requestedAt: Time,
  startedAt: TimeOrNull,
  endedAt: TimeOrNull,
  graceMs: Type.Integer({ description: 'How long a server is waited for until it has nothing in hand' }),
  force: Type.Boolean({ description: 'Also where nobody else can serve meanwhile' }),
  cancelled: Type.Boolean({ description: 'Somebody asked for its end: no further server is restarted' }),
  agent: Type.Union([Type.String(), Type.Null()], { description: 'Who does it' }),
  fence: Type.Integer({ description: 'Greater with each agent that goes on with it' }),
  problem: Type.Union([Type.String(), Type.Null()]),
  servers: Type.Array(
    Type.Object({
      name: Type.String(),
      state: Type.Union([
        Type.Literal('waiting'),
        Type.Literal('draining'),
        Type.Literal('restarting'),
        Type.Literal('checking'),
        Type.Literal('done'),
        Type.Literal('failed'),
      ]),
      instance: Type.Union([Type.String(), Type.Null()], { description: 'The one that ended for it' }),
      startedAt: TimeOrNull,
      endedAt: TimeOrNull,
    }),
  ),
});
export type Roll = Static<typeof Roll>;

/** As an agent tells of itself, each second. */
export const Agent = Type.Object({
  name: Type.String(),
  version: Type.String(),
  startedAt: Time,
  problem: Type.Union([Type.String(), Type.Null()], { description: 'Why the balancer is not as it is wanted' }),
});
export type Agent = Static<typeof Agent>;

/** Where they are kept, among the keys of services. */
export const ROLLING = {
  roll: 'gantry.roll',
  agents: 'gantry.agents',
  agent: (name: string) => `gantry.agent:${name}`,
} as const;

/** Null for what is none. */
export function readRoll(text: string | null): Roll | null {
  if (text === null) return null;
  try {
    const roll = JSON.parse(text) as Partial<Roll> | null;
    return typeof roll?.id === 'string' && Array.isArray(roll.servers) ? (roll as Roll) : null;
  } catch {
    return null;
  }
}
