/** What moves the cursor, hides text or turns it round: C0 and C1 controls but the line end, and marks of direction. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text from elsewhere, fit for a terminal: nothing in it commands one. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (c) => (c === '\t' ? '  ' : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`));
}

/** ISO 8601 as people read it, in the time zone of this machine; anything else as it is. */
export function localTime(iso: unknown): string {
  const time = new Date(typeof iso === 'string' ? iso : Number.NaN);
  if (Number.isNaN(time.getTime())) return textOf(iso);
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** A length of time in its largest two units. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const units = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = units.findIndex(([count]) => count > 0);
  if (first === -1) return '0 s';
  const shown = units.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ');
}

/** Any JSON on one line. */
export function textOf(value: unknown): string {
  if (value === undefined || value === null) return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return visible(value).replaceAll('\n', '\\n');
  if (Array.isArray(value)) {
    const simple = value.every((entry) => typeof entry !== 'object' || entry === null);
    return simple ? value.map(textOf).join(',') : visible(JSON.stringify(value));
  }
  return visible(JSON.stringify(value) ?? '-');
}

/** What an object says, without its keys: of `{ path: '/a', method: 'GET' }` it is `GET /a`. */
export function valuesOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return textOf(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([, entry]) => textOf(entry)).join(' ');
}
