import { stringify } from 'csv-stringify/sync';
import { GantryError, pointerOf } from '../../core/api.ts';
import type { CsvConfig } from './config.ts';

type Row = Readonly<Record<string, unknown>>;

/** Throws OUTPUT_INVALID. */
export function writeCsv(value: unknown, config: CsvConfig): string {
  const rows = Array.isArray(value) ? value : [value];
  if (rows.length === 0) return '';
  const lines = rows.every(Array.isArray) ? ofLists(rows, config) : ofObjects(rows, config);
  return stringify(lines, {
    delimiter: config.delimiter,
    record_delimiter: '\r\n',
    // An empty line would be no row.
    quoted_empty: lines[0]?.length === 1,
    // A line end of any kind ends a row, and a byte order mark at the start is none of the text.
    quoted_match: /[\r\n]|^\ufeff/,
  });
}

function ofLists(rows: readonly (readonly unknown[])[], config: CsvConfig): string[][] {
  const width = rows[0]?.length ?? 0;
  return rows.map((row, r) => {
    if (row.length === 0) throw unwritable(`/${r}`, 'is a row without fields');
    if (row.length !== width) throw unwritable(`/${r}`, `has ${row.length} fields where the first row has ${width}`);
    // Not map(): it skips the holes of a list.
    return Array.from(row, (field, c) => fieldOf(field, `/${r}/${c}`, config));
  });
}

function ofObjects(rows: readonly unknown[], config: CsvConfig): string[][] {
  for (const [r, row] of rows.entries()) if (!isRow(row)) throw unwritable(`/${r}`, `is ${what(row)}, and no row`);
  const names = [...new Set((rows as readonly Row[]).flatMap((row) => Object.keys(row)))];
  if (names.length === 0) throw unwritable('', 'has rows without a column');
  const header = names.map((name) => {
    if (name === '' || name === '__proto__') throw unwritable('', `has a column named '${name}'`);
    return fieldOf(name, '', config);
  });
  const lines = (rows as readonly Row[]).map((row, r) =>
    names.map((name) => fieldOf(Object.hasOwn(row, name) ? row[name] : null, pointerOf([r, name]), config)),
  );
  return config.header ? [header, ...lines] : lines;
}

function isRow(value: unknown): value is Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return !(value instanceof Date) && !ArrayBuffer.isView(value);
}

function fieldOf(value: unknown, path: string, { guardFormulas }: CsvConfig): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  if (typeof value !== 'string') throw unwritable(path, `is ${what(value)}, which no field can hold`);
  if (value.includes('\0') || !value.isWellFormed()) throw unwritable(path, 'has a NUL or a lone surrogate');
  return guardFormulas && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
}

function what(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Date) return 'a date';
  if (value === null || typeof value === 'number') return String(value);
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function unwritable(path: string, why: string): GantryError {
  return new GantryError('OUTPUT_INVALID', 'The output cannot be written as CSV', {
    hint: `Mend the service: ${path === '' ? 'the output' : path} ${why}.`,
  });
}
