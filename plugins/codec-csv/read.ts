import { CsvError, parse } from 'csv-parse/sync';
import { GantryError, type Problem } from '../../core/api.ts';
import type { CsvConfig } from './config.ts';

const HEADER = /(?:^|;)\s*header\s*=\s*"?(present|absent)\b/i;
const CHARSET = /(?:^|;)\s*charset\s*=\s*"?([^\s;"]+)/i;

/** Rows as objects or lists. Throws INPUT_MALFORMED, INPUT_TOO_LARGE or MEDIA_UNSUPPORTED. */
export function readCsv(raw: Uint8Array | string, parameters: string, config: CsvConfig): unknown[] {
  const text = textOf(raw, CHARSET.exec(parameters)?.[1] ?? 'utf-8');
  if (text.includes('\0')) throw malformed({ path: '', message: 'has a NUL, which no CSV has' });
  const present = HEADER.exec(parameters)?.[1];
  const withHeader = present === undefined ? config.header : present.toLowerCase() === 'present';
  const rows = records(text, config, withHeader ? 1 : 0);
  checkFields(rows, config);
  return withHeader ? objects(rows) : rows;
}

function textOf(raw: Uint8Array | string, charset: string): string {
  if (typeof raw === 'string') return raw.startsWith('\ufeff') ? raw.slice(1) : raw;
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(charset, { fatal: true });
  } catch {
    throw new GantryError('MEDIA_UNSUPPORTED', 'The charset of the body is not known here', {
      problems: [
        { path: '', message: 'is in a charset that is not known', expected: 'utf-8', got: charset.slice(0, 40) },
      ],
    });
  }
  try {
    // Streamed, since Node 20 takes windows-1252 for ISO-8859-1 where it decodes at once.
    return decoder.decode(raw, { stream: true }) + decoder.decode();
  } catch {
    const { encoding } = decoder;
    throw malformed({ path: '', message: `has bytes that are not ${encoding}`, expected: encoding });
  }
}

function records(text: string, { delimiter, maxRows }: CsvConfig, headers: number): string[][] {
  let rows: string[][];
  try {
    rows = parse(text, {
      delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      skip_empty_lines: true,
      // One more than allowed, to know that there are more.
      to: maxRows + headers + 1,
    });
  } catch (thrown) {
    throw explain(thrown);
  }
  if (rows.length > maxRows + headers) throw tooLarge(`${maxRows} rows`, 'maxRows');
  return rows;
}

/** What csv-parse says quotes the body; numbers and the kind of fault are all that is taken from it. */
function explain(thrown: unknown): GantryError {
  const { code, message } = thrown instanceof CsvError ? thrown : { code: '', message: '' };
  const line = /\bline (\d+)/.exec(message)?.[1];
  const where = line === undefined ? '' : ` in line ${line}`;
  const counts = /expect (\d+), got (\d+)/.exec(message);
  switch (code) {
    case 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH':
      return malformed({
        path: '',
        message: `has another number of fields${where} than before`,
        ...(counts === null ? {} : { expected: `${counts[1]} fields`, got: `${counts[2]} fields` }),
        hint: 'A field that has the delimiter in it stands in double quotes.',
      });
    case 'CSV_QUOTE_NOT_CLOSED':
      return malformed({ path: '', message: `has a quote${where} that is not closed` });
    case 'CSV_INVALID_CLOSING_QUOTE':
    case 'INVALID_OPENING_QUOTE':
      return malformed({
        path: '',
        message: `has a quote${where} in the middle of a field`,
        hint: 'Put the field in double quotes, and write a quote in it as two.',
      });
    default:
      return malformed({ path: '', message: `is not CSV${where}` });
  }
}

function checkFields(rows: readonly string[][], { maxColumns, maxFieldBytes }: CsvConfig): void {
  const columns = rows[0]?.length ?? 0;
  if (columns > maxColumns) throw tooLarge(`${maxColumns} fields in a row`, 'maxColumns');
  for (const row of rows) {
    for (const field of row) {
      // Most are so short that they need not be measured: a character has at most three bytes for each unit.
      if (field.length * 3 > maxFieldBytes && Buffer.byteLength(field) > maxFieldBytes) {
        throw tooLarge(`${maxFieldBytes} bytes in a field`, 'maxFieldBytes');
      }
    }
  }
}

function objects([names, ...rows]: readonly string[][]): Record<string, string>[] {
  if (names === undefined) return [];
  checkNames(names);
  return rows.map((fields) => {
    const row: Record<string, string> = {};
    for (const [i, name] of names.entries()) row[name] = fields[i] as string;
    return row;
  });
}

function checkNames(names: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const [i, name] of names.entries()) {
    const column = `column ${i + 1}`;
    if (name === '') throw badName(`has no name for ${column} in its header`);
    if (name === '__proto__') throw badName(`has a name for ${column} in its header that is not allowed here`);
    const other = seen.get(name);
    if (other !== undefined) throw badName(`has one name for column ${other} and ${column} in its header`);
    seen.set(name, i + 1);
  }
}

function badName(message: string): GantryError {
  const hint = 'Give each column a name of its own, or send the content type with the parameter header=absent.';
  return malformed({ path: '', message, hint });
}

function malformed(problem: Problem): GantryError {
  return new GantryError('INPUT_MALFORMED', 'The body is not valid CSV', { problems: [problem] });
}

function tooLarge(most: string, key: string): GantryError {
  return new GantryError('INPUT_TOO_LARGE', `The body has more than ${most}`, {
    problems: [{ path: '', message: `has more than ${most}`, expected: `at most ${most}` }],
    hint: `Where such bodies are wanted, raise plugins."codec.csv".${key}.`,
  });
}
