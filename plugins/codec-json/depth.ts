/** Hot. How deep a body is nested, told from its text, so that nothing deep is ever built. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `[` and `{` differ in this bit only, and so do `]` and `}`. */
const EITHER = 0x20;
const OPENING = 0x7b;
const CLOSING = 0x7d;

/** Whether JSON text nests deeper than `limit`. The text may be malformed: then any answer that is safe will do. */
export function exceedsDepth(text: string, limit: number): boolean {
  // Counting every bracket, in strings too, costs a fifth of the exact look, and most bodies have few of them.
  const objects = countUpTo(text, '{', limit);
  return objects + countUpTo(text, '[', limit) > limit && nestsDeeper(text, limit);
}

/** How often a character occurs; gives up beyond the limit. */
function countUpTo(text: string, bracket: string, limit: number): number {
  let count = 0;
  for (let at = text.indexOf(bracket); at !== -1 && count <= limit; at = text.indexOf(bracket, at + 1)) count++;
  return count;
}

function nestsDeeper(text: string, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      if (at === -1) return false;
    } else if ((code | EITHER) === OPENING) {
      if (++depth > limit) return true;
    } else if ((code | EITHER) === CLOSING) depth--;
  }
  return false;
}

/** Where the string that opens at `at` closes; -1 where it does not. */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === BACKSLASH) before--;
    // An even number of backslashes escape each other, and the quote stands.
    if ((end - before) % 2 === 1) return end;
  }
  return -1;
}
