import type { Definition, RecordView } from '../records/record.ts';
import { localTime, valuesOf } from './display.ts';
import type { Column } from './table.ts';

/** A row of a list: a record, or what a server's config file defines. */
export interface Listed {
  readonly definition: Definition;
  readonly record: RecordView | null;
}

const field = (title: string, key: string): Column<Listed> => ({ title, of: ({ definition }) => definition[key] });
const switched = (otherwise: boolean): Column<Listed> => ({
  title: 'ACTIVE',
  of: ({ definition }) => definition['active'] ?? otherwise,
});

/** What people want to see of each kind, after the name. */
const OWN: Readonly<Record<string, readonly Column<Listed>[]>> = {
  setting: [field('VALUE', 'value'), field('DESCRIPTION', 'description')],
  dictionary: [
    { title: 'ENTRIES', of: ({ definition }) => Object.keys((definition['entries'] ?? {}) as object).length },
  ],
  security: [field('GUARD', 'guard')],
  connection: [switched(true), field('TRANSPORT', 'transport')],
  module: [switched(true), field('SERVICES', 'services'), field('LANGUAGE', 'language')],
  channel: [
    switched(true),
    field('TRANSPORT', 'transport'),
    { title: 'ADDRESS', of: ({ definition }) => valuesOf(definition['address']) },
    field('SERVICE', 'service'),
    { title: 'SECURITY', of: ({ definition }) => securityOf(definition['security']) },
  ],
  job: [
    switched(true),
    field('SERVICE', 'service'),
    { title: 'SCHEDULE', of: ({ definition }) => valuesOf(definition['schedule']) },
  ],
  user: [switched(true), field('ROLE', 'role')],
  balancer: [
    field('ALGORITHM', 'algorithm'),
    { title: 'BINDS', of: ({ definition }) => ((definition['binds'] ?? []) as unknown[]).map(valuesOf) },
  ],
  server: [
    { title: 'STATE', of: ({ definition }) => definition['state'] ?? 'online' },
    { title: 'WEIGHT', of: ({ definition }) => definition['weight'] ?? 100 },
    field('RELEASE', 'version'),
    field('URLS', 'urls'),
    { title: 'STARTED', of: ({ definition }) => localTime(definition['startedAt']) },
  ],
};

/** The columns of a kind: its name, what is its own, and where it comes from. */
export function columnsOf(kind: string): readonly Column<Listed>[] {
  return [
    field('NAME', 'name'),
    ...(OWN[kind] ?? []),
    { title: 'VERSION', of: ({ record }) => record?.version },
    { title: 'CHANGED', of: ({ record }) => localTime(record?.changedAt) },
    { title: 'BY', of: ({ record }) => record?.changedBy },
    { title: 'SOURCE', of: ({ record }) => (record === null ? 'config file' : 'record') },
  ];
}

function securityOf(security: unknown): unknown {
  const own =
    typeof security === 'object' && !Array.isArray(security) ? (security as { guard?: unknown } | null) : null;
  return own?.guard === undefined ? security : `(${String(own.guard)})`;
}
