/** The rolling restart as it is kept for the whole cluster: who asks for it writes it here, an agent does it. */
import { randomUUID } from 'node:crypto';
import { GantryError, type KeyValues, type Member } from 'gantry/api';
import { type Agent, ROLLING, type Roll, readRoll } from 'gantry/parts';

const { roll: ROLL, agents: AGENTS } = ROLLING;

/** Null where there was none. Rejects with KV_UNAVAILABLE, as all here do. */
export async function findRoll(kv: KeyValues): Promise<Roll | null> {
  return readRoll(await kv.get(ROLL));
}

export async function agents(kv: KeyValues): Promise<Agent[]> {
  const names = Object.keys(await kv.hashAll(AGENTS)).sort();
  const texts = await kv.getMany(names.map(ROLLING.agent));
  return texts.map(readAgent).filter((one) => one !== null);
}

/** Rejects with CONFLICT where one is under way. */
export async function requestRoll(
  kv: KeyValues,
  members: readonly Member[],
  options: Pick<Roll, 'graceMs' | 'force' | 'requestedBy'>,
): Promise<Roll> {
  const text = await kv.get(ROLL);
  const known = readRoll(text);
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
    const roll = readRoll(text);
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

function readAgent(text: string | null): Agent | null {
  try {
    return text === null ? null : (JSON.parse(text) as Agent);
  } catch {
    return null;
  }
}
