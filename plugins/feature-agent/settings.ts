import { type LiveRecord, Secret } from '../../core/api.ts';
import { BalancerSettingsSchema } from '../../core/parts.ts';
import type { BalancerSettings } from '../../core/ports/index.ts';

/** Between the longest timeout of a channel and that of the balancer: the server is to tell of it, not the balancer. */
const LATER_MS = 1000;
/** What is shown in place of a secret, and given back for one that stays as it is. */
export const HIDDEN = '***';

/** Settings as somebody wrote them. */
export type Written = Readonly<Record<string, unknown>>;

/** The config's own settings, with all defaults, and secrets in the clear. */
export function plainSettings(configured: unknown): BalancerSettings {
  const { stats, ...settings } = revealed(configured) as BalancerSettings;
  return stats === undefined || stats.password === '' ? settings : { ...settings, stats };
}

/** What is written, laid over what holds without it; groups such as `timeouts` field by field. */
export function laidOver(under: BalancerSettings, written: Written): BalancerSettings {
  const { name: _, ...own } = written;
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(own)) {
    const below = merged[key];
    merged[key] = isGroup(below) && isGroup(value) ? { ...below, ...value } : value;
  }
  return filled(BalancerSettingsSchema, merged) as BalancerSettings;
}

/** Of the record, and of the config where there is none. */
export function settingsOf(under: BalancerSettings, record: LiveRecord | null): BalancerSettings {
  return record === null ? under : laidOver(under, record.definition);
}

/** No call is cut off by the balancer that a server would still answer. */
export function patient(settings: BalancerSettings, longestMs: number): BalancerSettings {
  const serverMs = Math.max(settings.timeouts.serverMs, longestMs + LATER_MS);
  return { ...settings, timeouts: { ...settings.timeouts, serverMs } };
}

/** Settings that a person gives back, with the secrets that were not shown to that person. */
export function withSecrets(written: Written, present: BalancerSettings): Written {
  const stats = written['stats'];
  if (!isGroup(stats) || stats['password'] !== HIDDEN) return written;
  const { password } = present.stats ?? {};
  return { ...written, stats: { ...stats, ...(password === undefined ? {} : { password }) } };
}

/** A text of the program, without the secrets that are in it. */
export function withoutSecrets(text: string, { stats }: BalancerSettings): string {
  return stats === undefined ? text : text.replaceAll(stats.password, HIDDEN);
}

interface Node {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
}

/** With what the schema has defaults for. */
function filled(schema: Node, value: unknown): unknown {
  const { items, properties } = schema;
  if (Array.isArray(value) && items !== undefined) return value.map((entry) => filled(items, entry));
  if (!isGroup(value) || properties === undefined) return value;
  const made: Record<string, unknown> = { ...value };
  for (const [key, part] of Object.entries(properties)) {
    const own = made[key] ?? structuredClone(part.default);
    if (own !== undefined) made[key] = filled(part, own);
  }
  return made;
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function revealed(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(revealed);
  if (!isGroup(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, revealed(entry)]));
}
