import { isUtf8 } from 'node:buffer';

/** Where in a text, as an editor counts: 'line 3, column 12'. */
export function place(text: string, at: number): string {
  let line = 1;
  let start = 0;
  for (let end = text.indexOf('\n'); end !== -1 && end < at; end = text.indexOf('\n', start)) {
    line++;
    start = end + 1;
  }
  return `line ${line}, column ${at - start + 1}`;
}

/** The offset of the first character that is not UTF-8. Halves the range, so that large bodies stay cheap. */
export function findInvalidByte(raw: Uint8Array): number {
  let valid = 0;
  let invalid = raw.length;
  while (invalid - valid > 1) {
    const cut = characterStart(raw, (valid + invalid) >>> 1, valid);
    if (cut === valid) {
      const next = characterEnd(raw, valid);
      if (next === -1) break;
      valid = next;
    } else if (isUtf8(raw.subarray(valid, cut))) valid = cut;
    else invalid = cut;
  }
  return valid;
}

/** Behind the character that starts at `at`; -1 where none does. */
function characterEnd(raw: Uint8Array, at: number): number {
  for (let end = at + 1; end <= at + 4; end++) if (isUtf8(raw.subarray(at, end))) return end;
  return -1;
}

/** The last offset up to `at`, and not before `least`, that no continuation byte (10xxxxxx) stands at. */
function characterStart(raw: Uint8Array, at: number, least: number): number {
  let start = at;
  while (start > least && ((raw[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}
