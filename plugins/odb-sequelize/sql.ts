/** What can be bound to a statement. Never an empty text, which is NULL in Oracle. */
export type Value = string | number | null;

/**
 * A piece of SQL that every engine understands, with the values that are bound to it. `[name]` is an identifier, and
 * `[limit 5]` or `[for update]` the end of a query, each written as the engine wants it; a value is never part of the
 * text.
 */
export class Sql {
  readonly parts: readonly string[];
  readonly values: readonly Value[];

  constructor(parts: readonly string[], values: readonly Value[]) {
    this.parts = parts;
    this.values = values;
  }

  /** The text with `$1`, `$2` ..., each number once, since Oracle counts places and not names. */
  text(word: (bracketed: string) => string): string {
    const text = this.parts.map((part, i) => (i === 0 ? part : `$${i}${part}`)).join('');
    return text.replace(/\[([a-z0-9_ ]+)\]/g, (_, inner: string) => word(inner));
  }
}

/** Pieces of SQL become part of the text, everything else is bound. */
export function sql(strings: TemplateStringsArray, ...inserts: readonly (Value | Sql)[]): Sql {
  const parts = [strings[0] as string];
  const values: Value[] = [];
  const append = (text: string) => parts.push(`${parts.pop()}${text}`);
  for (const [i, insert] of inserts.entries()) {
    if (insert instanceof Sql) {
      append(insert.parts[0] as string);
      parts.push(...insert.parts.slice(1));
      values.push(...insert.values);
    } else {
      parts.push('');
      values.push(insert);
    }
    append(strings[i + 1] as string);
  }
  return new Sql(parts, values);
}

/** Text that is written in this plugin, never anything from outside. */
export function raw(text: string): Sql {
  return new Sql([text], []);
}

/** Pieces with something between them. */
export function join(pieces: readonly Sql[], between: string): Sql {
  const separator = raw(between);
  return pieces.reduce((all, piece, i) => (i === 0 ? piece : sql`${all}${separator}${piece}`), raw(''));
}

/** All of the conditions; none is always true. */
export function all(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? raw('1 = 1') : join(conditions, ' AND ');
}

/** At most so many rows, after so many others. */
export function limit(rows: number, offset = 0): Sql {
  return raw(offset === 0 ? `[limit ${Math.trunc(rows)}]` : `[limit ${Math.trunc(rows)} offset ${Math.trunc(offset)}]`);
}

/**
 * At the end of a query: its rows stay as they are until the end of the transaction, and who waits for one sees it as it
 * is then. Nothing in SQLite, where a transaction that writes has everything.
 */
export const LOCKED = raw('[for update]');

/** Most of what one statement lists: Oracle takes no more than 1000. */
const LISTED = 512;

/**
 * Conditions that together find rows by any number of values. The lists have a power of two of values, the last one
 * repeated: else each length would be a statement of its own among those that MySQL keeps prepared, and it keeps few.
 */
export function listed(column: Sql, values: readonly Value[]): Sql[] {
  const found: Sql[] = [];
  for (let start = 0; start < values.length; start += LISTED) {
    const some = values.slice(start, start + LISTED);
    const size = 2 ** Math.ceil(Math.log2(some.length));
    const filled = Array.from({ length: size }, (_, i) => sql`${some[Math.min(i, some.length - 1)] as Value}`);
    found.push(sql`${column} IN (${join(filled, ', ')})`);
  }
  return found;
}

/**
 * Whether a text is a part of a column, exactly. LIKE would not do: SQLite's is blind to case, and it has wildcards; nor
 * replacing by nothing, which is NULL in Oracle.
 */
export function contains(column: Sql, part: string): Sql {
  return sql`LENGTH(REPLACE(${column}, ${part}, ${`${part}.`})) > LENGTH(${column})`;
}
