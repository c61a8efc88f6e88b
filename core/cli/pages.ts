import type { AdminClient } from './client.ts';
import type { Option } from './command.ts';
import type { Options } from './options.ts';
import type { Answer } from './screen.ts';

/** One page of what the API lists. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
  readonly total: number;
}

/** What every list takes. */
export const PAGING: readonly Option[] = [
  { name: 'limit', value: 'N', does: 'at most so many; default: all' },
  { name: 'after', value: 'NEXT', does: 'goes on where `next` of an answer with --limit says' },
];

/** The most that the API gives at once. */
const MOST = 1000;

/** All pages as if they were one, or as many items as --limit says. */
export async function readPages<P extends Page<unknown>>(
  client: AdminClient,
  operation: string,
  query: object,
  options: Options,
): Promise<Answer<P>> {
  const limit = options.integer('limit', 1) ?? Number.POSITIVE_INFINITY;
  const start = options.text('after');
  const ask = (after: string | undefined, count: number) => {
    const page = { ...query, limit: Math.min(MOST, limit - count), ...(after === undefined ? {} : { after }) };
    return client.call<P>(operation, page, { reads: true });
  };
  const first = await ask(start, 0);
  let { next } = first.value;
  if (next === null || first.value.items.length >= limit) return first;
  const items = [...first.value.items];
  while (next !== null && items.length < limit) {
    const { value }: Answer<P> = await ask(next, items.length);
    items.push(...value.items);
    next = value.next;
  }
  const value = { ...first.value, items, next };
  return { value, text: JSON.stringify(value) };
}

/** What is told beside a list that is cut short. */
export function restOf({ items, next, total }: Page<unknown>): string | null {
  return next === null ? null : `${items.length} of ${total}; go on with --after ${next}`;
}
