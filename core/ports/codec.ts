import type { TSchema } from 'typebox';
import type { Encoder } from '../call.ts';

/** Decodes bytes to a value and encodes a value to bytes. One codec is one format. */
export interface Codec extends Encoder {
  /** False if the format has only strings (XML, CSV, form): they are then coerced to the declared types. */
  readonly typed: boolean;
  /**
   * `parameters` are those of the content type, as sent (`charset=iso-8859-1`), or ''. Throws INPUT_MALFORMED,
   * INPUT_TOO_DEEP, INPUT_TOO_LARGE, or MEDIA_UNSUPPORTED for a charset that it does not know. It must not hang on any
   * input.
   */
  decode(raw: Uint8Array | string, parameters?: string): unknown;
  /**
   * Makes code that writes values of one schema faster than encode() does. It is given only what fits the schema and
   * holds nothing that the schema does not name, and writes the same value as encode(); keys may come in the order of
   * the schema. Null if there is nothing to gain.
   */
  compile?(schema: TSchema): ((value: unknown) => string | Uint8Array) | null;
}
