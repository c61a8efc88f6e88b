/** From bytes in any encoding to UTF-8 without a DOCTYPE. */
import { GantryError } from '../../core/api.ts';
import { malformed } from './refuse.ts';

const MARKS: readonly (readonly [string, readonly number[]])[] = [
  ['utf-8', [0xef, 0xbb, 0xbf]],
  ['utf-16le', [0xff, 0xfe]],
  ['utf-16be', [0xfe, 0xff]],
];
/** What a document without a mark begins with, `<` or `<?`, where its characters are 16 bits wide. */
const WIDE: readonly (readonly [string, readonly number[]])[] = [
  ['utf-16le', [0x3c, 0x00]],
  ['utf-16be', [0x00, 0x3c]],
];
const CHARSET = /(?:^|;)\s*charset\s*=\s*"?([^\s;"]+)/i;
const DECLARED = /^<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']/;
/** A declaration stands in the first line as a rule, and is short. */
const DECLARATION_BYTES = 200;

/**
 * The document as UTF-8. Whatever is not is made so before anyone looks for a DOCTYPE: in an encoding that hides ASCII
 * (EBCDIC, ISO-2022) one could not be seen. Throws MEDIA_UNSUPPORTED or INPUT_MALFORMED.
 */
export function utf8Of(raw: Uint8Array | string, parameters: string): Buffer {
  if (typeof raw === 'string') return Buffer.from(raw);
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const encoding = encodingOf(bytes, parameters);
  if (encoding === 'utf-8') return bytes;
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(encoding, { fatal: true });
  } catch {
    throw new GantryError('MEDIA_UNSUPPORTED', 'The encoding of the XML document is not known here', {
      problems: [
        { path: '', message: 'is in an encoding that is not known', expected: 'UTF-8', got: encoding.slice(0, 40) },
      ],
    });
  }
  try {
    // Streamed, since Node 20 takes windows-1252 for ISO-8859-1 where it decodes at once.
    return Buffer.from(decoder.decode(bytes, { stream: true }) + decoder.decode());
  } catch {
    throw malformed(`has bytes that are not ${decoder.encoding}`, { expected: decoder.encoding });
  }
}

function encodingOf(bytes: Buffer, parameters: string): string {
  const marked = MARKS.find((mark) => begins(bytes, mark));
  if (marked !== undefined) return marked[0];
  const named = CHARSET.exec(parameters)?.[1]?.toLowerCase();
  // Without a mark 'utf-16' does not say which of the two it is.
  if (named !== undefined && named !== 'utf-16') return named;
  const wide = WIDE.find((start) => begins(bytes, start));
  if (wide !== undefined) return wide[0];
  if (named !== undefined) return 'utf-16be';
  const declared = DECLARED.exec(bytes.toString('latin1', 0, DECLARATION_BYTES))?.[1]?.toLowerCase();
  // One that could be read as ASCII so far is not 16 bits wide, whatever it says.
  return declared === undefined || declared.startsWith('utf-16') ? 'utf-8' : declared;
}

function begins(bytes: Buffer, [, start]: readonly [string, readonly number[]]): boolean {
  return start.every((byte, i) => bytes[i] === byte);
}

const SPACE = new Set([0x20, 0x09, 0x0d, 0x0a]);

/**
 * Whether a DOCTYPE stands before the root element. It is looked for before anything is parsed: what a DTD declares
 * is never read, and a comment or CDATA that only looks like one does no harm.
 */
export function hasDoctype(source: Buffer): boolean {
  let at = begins(source, ['utf-8', [0xef, 0xbb, 0xbf]]) ? 3 : 0;
  for (;;) {
    while (SPACE.has(source[at] ?? 0)) at++;
    const end = starts(source, at, '<!--') ? '-->' : starts(source, at, '<?') ? '?>' : null;
    if (end === null) return starts(source, at, '<!DOCTYPE');
    const closed = source.indexOf(end, at + (end === '-->' ? 4 : 2));
    if (closed === -1) return false;
    at = closed + end.length;
  }
}

function starts(source: Buffer, at: number, text: string): boolean {
  return source.toString('latin1', at, at + text.length) === text;
}
