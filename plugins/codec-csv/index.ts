import { definePlugin } from '../../core/api.ts';
import { CsvConfig } from './config.ts';
import { readCsv } from './read.ts';
import { writeCsv } from './write.ts';

/**
 * CSV (RFC 4180). Reads a list of rows: objects by the names in the header, or lists of fields where there is no
 * header, as config `header` says or the parameter `header` of the content type. Every field is a string, spaces kept;
 * declared types come by coercion. Every row has as many fields as the first; empty lines are skipped; lines end with
 * CRLF, LF or CR. A byte order mark and the charset parameter are honoured, else it is UTF-8 (RFC 7111). A header that
 * is empty, there twice or `__proto__` is refused, and so is a NUL.
 *
 * Writes a list of objects, whose columns are all their keys in the order in which they first occur, a list of lists,
 * or one object as a list of one. Fields are strings, finite numbers, booleans, bigints and dates (ISO 8601); what is
 * null or missing is empty. decode(encode(x)) is x for lists of objects with the same keys, in order, and strings.
 *
 * Text that begins with = + - @ is written as it is, because programs read it: guarding it would change telephone
 * numbers and negative amounts. Who writes for people with a spreadsheet, from data that others typed, sets
 * `guardFormulas`.
 */
export default definePlugin({
  id: 'codec.csv',
  api: 1,
  config: CsvConfig,
  create: ({ config }) => ({
    contentTypes: ['text/csv'],
    parameters: 'charset=utf-8',
    typed: false,
    decode: (raw: Uint8Array | string, parameters = '') => readCsv(raw, parameters, config),
    encode: (value: unknown) => writeCsv(value, config),
  }),
});
