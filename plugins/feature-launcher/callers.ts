/** What the table says of where callers come in, and of HAProxy's figures, when that is not as the config says. */
import type { AgentSays } from './agent.ts';

/** A row's second and third cell. */
export interface Row {
  readonly where: string;
  readonly note: string;
}

const RECORD = 'the record `main` of kind balancer';

interface Said {
  readonly agent: AgentSays;
  /** Why a call at the configured port fails; null: it is answered. */
  readonly call: string | null;
  readonly url: string;
}

/** Null: callers are answered where the config says. */
export function callersRow({ agent, call, url }: Said): Row | null {
  const { halted, trouble, recorded } = agent;
  if (halted) return { where: 'nobody is let in', note: 'HAProxy was ended by an administrator' };
  const where = placeOf(recorded);
  if (trouble !== null) return { where: where ?? url, note: `not served, perhaps for ${RECORD}: ${trouble}` };
  if (call === null) return null;
  return where === null
    ? { where: url, note: `no call is answered: ${call}` }
    : { where, note: `${RECORD} says otherwise than the config: ${url}` };
}

/** What shows why callers are not answered where the config says, and what changes it. */
export function mending({ halted, recorded }: AgentSays, agentUrl: string): readonly string[] {
  const lines = [
    ['status', ''],
    ...(halted ? [['start', '']] : []),
    ...(recorded === null
      ? []
      : [
          ['get main', ''],
          ['delete main', '        back to the settings of the config'],
        ]),
  ];
  return lines.map(([words, why]) => `gantry balancer ${words} --url ${agentUrl}${why}`);
}

/** Null: the figures are where the config says, with its password. */
export function figuresRow({ recorded }: AgentSays, url: string): Row | null {
  if (recorded?.hasTemplate) return { where: url, note: `unless the template of ${RECORD} says otherwise` };
  const { stats = null } = recorded ?? {};
  return stats === null ? null : { where: stats.url, note: `user ${stats.user}, its password is that of ${RECORD}` };
}

function placeOf(recorded: AgentSays['recorded']): string | null {
  return recorded?.hasTemplate ? 'as its template says' : (recorded?.binds?.join(' ') ?? null);
}
