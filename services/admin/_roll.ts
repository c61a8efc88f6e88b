/** The rolling restart as it is kept for the whole cluster: who asks for it writes it here, an agent does it. */
import { randomUUID } from 'node:crypto';
import { GantryError, type KeyValues, type Member, type Static, Type } from 'gantry/api';

const Time = Type.String({ format: 'date-time' });
const TimeOrNull = Type.Union([Time, Type.Null()]);

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
type Agent = Static<typeof Agent>;

const ROLL = 'gantry.roll';
const AGENTS = 'gantry.agents';

/** Null where there was none. Rejects with KV_UNAVAILABLE, as all here do. */
export async function findRoll(kv: KeyValues): Promise<Roll | null> {
  return read<Roll>(await kv.get(ROLL));
}

export async function agents(kv: KeyValues): Promise<Agent[]> {
  const names = Object.keys(await kv.hashAll(AGENTS)).sort();
  const texts = await kv.getMany(names.map((name) => `gantry.agent:${name}`));
  return texts.map((text) => read<Agent>(text)).filter((one) => one !== null);
}

/** Rejects with CONFLICT where one is under way. */
export async function requestRoll(
  kv: KeyValues,
  members: readonly Member[],
  options: Pick<Roll, 'graceMs' | 'force' | 'requestedBy'>,
): Promise<Roll> {
  const text = await kv.get(ROLL);
  const known = read<Roll>(text);
  if (known !== null && known.endedAt === null) throw underWay(known);
  const roll: Roll = {
    id: randomUUID(),
    state: 'waiting',
    requestedAt: new Date().toISOString(),
    startedAt: null,
    endedAt: null,
    ...options,
    cancelled: false,
    agent: null,
    fence: 0,
    problem: null,
    servers: members.map(({ name }) => ({ name, state: 'waiting', instance: null, startedAt: null, endedAt: null })),
  };
  if (await kv.swap(ROLL, text, JSON.stringify(roll))) return roll;
  throw underWay(await findRoll(kv));
}

/** The server whose turn it is comes through first. Rejects with CONFLICT where none is under way. */
export async function cancelRoll(kv: KeyValues): Promise<Roll> {
  while (true) {
    const text = await kv.get(ROLL);
    const roll = read<Roll>(text);
    if (roll === null || roll.endedAt !== null) throw new GantryError('CONFLICT', 'No rolling restart is under way');
    const hasBegun = roll.state === 'running';
    const next: Roll = hasBegun
      ? { ...roll, cancelled: true }
      : { ...roll, cancelled: true, state: 'cancelled', endedAt: new Date().toISOString() };
    if (await kv.swap(ROLL, text, JSON.stringify(next))) return next;
  }
}

function underWay(roll: Roll | null): GantryError {
  const since = roll === null ? '' : `, asked for by ${roll.requestedBy} at ${roll.requestedAt}`;
  return new GantryError('CONFLICT', `A rolling restart is under way${since}`, {
    hint: 'gantry.cluster.rolling tells how far it is, gantry.cluster.cancelRoll ends it.',
  });
}

function read<T>(text: string | null): T | null {
  try {
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}
