/** Who changed what and when. */
import type { Change } from '../ports/odb.ts';
import type { Noun } from './command.ts';
import { localTime } from './display.ts';
import { PAGING, type Page, readPages, restOf } from './pages.ts';
import { type Column, table } from './table.ts';

/** As JSON has it. */
type Entry = Omit<Change, 'changedAt'> & { readonly changedAt: string };

const COLUMNS: readonly Column<Entry>[] = [
  { title: 'TIME', of: ({ changedAt }) => localTime(changedAt) },
  { title: 'BY', of: ({ changedBy }) => changedBy },
  { title: 'ACTION', of: ({ action }) => action },
  { title: 'KIND', of: ({ kind }) => kind },
  { title: 'NAME', of: ({ name }) => name },
  // What was removed has none.
  { title: 'VERSION', of: ({ version }) => (version === 0 ? null : version) },
  { title: 'FIELDS', of: ({ before, after }) => changed(before, after) },
  { title: 'CALL', of: ({ cid }) => cid },
];

export const audit: Noun = {
  name: 'audit',
  does: 'Who changed what and when',
  verbs: [
    {
      name: 'list',
      does: 'the changes, the newest first; --json has what was before and after',
      options: [
        { name: 'kind', value: 'KIND', does: 'of records of one kind' },
        { name: 'name', value: 'NAME', does: 'of records of one name' },
        { name: 'action', value: 'ACTION', does: 'create, update or remove' },
        { name: 'by', value: 'USER', does: 'who changed it' },
        { name: 'cid', value: 'ID', does: 'the call that changed it' },
        { name: 'from', value: 'TIME', does: 'not before' },
        { name: 'until', value: 'TIME', does: 'not after' },
        { name: 'search', value: 'TEXT', does: 'a part of the name, or of what was before or after' },
        { name: 'ascending', does: 'the oldest first' },
        ...PAGING,
      ],
      async run({ client, options, screen }) {
        const query = {
          kind: options.text('kind'),
          name: options.text('name'),
          action: options.text('action'),
          changedBy: options.text('by'),
          cid: options.text('cid'),
          from: options.time('from'),
          until: options.time('until'),
          search: options.text('search'),
          ascending: options.has('ascending') ? true : undefined,
        };
        const answer = await readPages<Page<Entry>>(client, 'audit.list', query, options);
        await screen.show(
          answer,
          ({ items }) => (items.length === 0 ? 'There is no such change.\n' : table(COLUMNS, items, screen.width)),
          ({ items }) => items.map(({ kind, name }) => `${kind} ${name}\n`).join(''),
        );
        const rest = restOf(answer.value);
        if (rest !== null) await screen.note(rest);
      },
    },
  ],
};

/** The top-level fields that differ. */
function changed(before: unknown, after: unknown): readonly string[] | null {
  const [one, other] = [before ?? {}, after ?? {}] as Record<string, unknown>[];
  const keys = new Set([...Object.keys(one ?? {}), ...Object.keys(other ?? {})]);
  const differing = [...keys].filter((key) => JSON.stringify(one?.[key]) !== JSON.stringify(other?.[key]));
  return differing.length === 0 ? null : differing;
}
