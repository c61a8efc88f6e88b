import type { Encoder } from '../call.ts';

/** Turns bytes into a value and back. One codec is one format. */
export interface Codec extends Encoder {
  /** False where the format has only strings (XML, CSV, form): declared types are then coerced. */
  readonly typed: boolean;
  /**
   * Throws INPUT_MALFORMED, INPUT_TOO_DEEP, INPUT_TOO_LARGE, or MEDIA_UNSUPPORTED for a charset; never hangs, whatever the bytes are.
   * `parameters` are those of the content type, as sent (`charset=iso-8859-1`), or ''.
   */
  decode(raw: Uint8Array | string, parameters?: string): unknown;
}
