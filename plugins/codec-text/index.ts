import { definePlugin, GantryError, Type } from '../../core/api.ts';

/**
 * Plain text. Reads a string in the charset that the content type names, by the names of the WHATWG Encoding Standard
 * (where us-ascii and iso-8859-1 mean windows-1252); without one it is UTF-8. A byte order mark is not part of it.
 * Writes a string, a finite number, a boolean or a bigint, as UTF-8.
 */
export default definePlugin({
  id: 'codec.text',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create: () => ({
    contentTypes: ['text/plain'],
    parameters: 'charset=utf-8',
    typed: false,
    decode,
    encode,
  }),
});

const CHARSET = /(?:^|;)\s*charset\s*=\s*"?([^\s;"]+)/i;

function decode(raw: Uint8Array | string, parameters = ''): string {
  if (typeof raw === 'string') return raw.startsWith('\ufeff') ? raw.slice(1) : raw;
  const decoder = decoderOf(CHARSET.exec(parameters)?.[1] ?? 'utf-8');
  try {
    // Streamed, since Node 20 takes windows-1252 for ISO-8859-1 where it decodes at once.
    return decoder.decode(raw, { stream: true }) + decoder.decode();
  } catch {
    const { encoding } = decoder;
    throw new GantryError('INPUT_MALFORMED', `The text is not ${encoding}`, {
      problems: [{ path: '', message: `has bytes that are not ${encoding}`, expected: encoding }],
    });
  }
}

function decoderOf(charset: string): InstanceType<typeof TextDecoder> {
  try {
    return new TextDecoder(charset, { fatal: true });
  } catch {
    throw new GantryError('MEDIA_UNSUPPORTED', 'The charset of the text is not known here', {
      problems: [
        { path: '', message: 'is in a charset that is not known', expected: 'utf-8', got: charset.slice(0, 40) },
      ],
    });
  }
}

function encode(value: unknown): string {
  if (typeof value === 'string') {
    if (value.isWellFormed()) return value;
    throw unwritable('has a lone surrogate');
  }
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  const what = value === null || typeof value === 'number' ? String(value) : `of type ${typeof value}`;
  throw unwritable(`is ${what}; give a string, a number or a boolean`);
}

function unwritable(why: string): GantryError {
  return new GantryError('OUTPUT_INVALID', 'The output cannot be written as text', {
    hint: `Mend the service: the output ${why}.`,
  });
}
