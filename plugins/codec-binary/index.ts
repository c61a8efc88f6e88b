import { definePlugin, GantryError, Type } from '../../core/api.ts';

/** Bytes as they are. Reads bytes, a string as its UTF-8; writes bytes, and a string as UTF-8. */
export default definePlugin({
  id: 'codec.binary',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create: () => ({
    contentTypes: ['application/octet-stream'],
    typed: true,
    decode: (raw: Uint8Array | string): Uint8Array => (typeof raw === 'string' ? Buffer.from(raw) : raw),
    encode,
  }),
});

function encode(value: unknown): Uint8Array | string {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string' && value.isWellFormed()) return value;
  const what = typeof value === 'string' ? 'has a lone surrogate' : 'is neither bytes (Uint8Array) nor a string';
  throw new GantryError('OUTPUT_INVALID', 'The output cannot be written as bytes', {
    hint: `Mend the service: the output ${what}.`,
  });
}
