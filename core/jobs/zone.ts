import { didYouMean } from '../errors.ts';

/** A stretch of time with one offset. Local time is UTC plus the offset; all in ms, moments since 1970. */
export interface Span {
  /** When the offset began; for a long stretch, where the part begins that was computed. */
  readonly from: number;
  /** Not included. */
  readonly until: number;
  readonly offsetMs: number;
  /** The offset before `from`; the same as `offsetMs` if there was no change. */
  readonly beforeMs: number;
}

/** How much time is searched for changes at once: about 398 days, a power of two. */
const CHUNK_MS = 2 ** 35;
/**
 * The step of the search, about three days. Two changes within one step would be missed; the closest ones since 1970 are
 * seven days apart: America/Recife in October 2000, and Asia/Gaza in years to come.
 */
const STEP_MS = 2 ** 28;
/** Limits the memory when centuries are searched; ordinary use needs a few chunks. */
const MOST_CHUNKS = 64;

const ALWAYS_UTC: Span = {
  from: Number.NEGATIVE_INFINITY,
  until: Number.POSITIVE_INFINITY,
  offsetMs: 0,
  beforeMs: 0,
};

/** The offsets of one IANA time zone, cached since asking the platform takes microseconds. */
export class Zone {
  readonly #name: string;
  readonly #chunks = new Map<number, readonly Span[]>();
  #last: Span | null;

  constructor(name: string, utc: boolean) {
    this.#name = name;
    this.#last = utc ? ALWAYS_UTC : null;
  }

  /** The span that contains a moment since 1970. */
  spanAt(at: number): Span {
    const last = this.#last;
    if (last !== null && at >= last.from && at < last.until) return last;
    const chunk = this.#chunk(Math.floor(at / CHUNK_MS));
    let i = chunk.length - 1;
    while (i > 0 && at < (chunk[i] as Span).from) i--;
    return (this.#last = chunk[i] as Span);
  }

  #chunk(index: number): readonly Span[] {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      if (this.#chunks.size >= MOST_CHUNKS) this.#chunks.clear();
      this.#chunks.set(index, (chunk = spansOf(this.#name, index * CHUNK_MS)));
    }
    return chunk;
  }
}

/** The spans of one chunk; the first begins earlier if the offset changed shortly before the chunk. */
function spansOf(name: string, from: number): Span[] {
  const clock = clockOf(name);
  const until = from + CHUNK_MS;
  let at = from - STEP_MS;
  let offsetMs = offsetOf(clock, at);
  let open: Span = { from, until, offsetMs, beforeMs: offsetMs };
  const spans: Span[] = [];
  while (at < until) {
    const next = at + STEP_MS;
    if (offsetOf(clock, next) === offsetMs) {
      at = next;
      continue;
    }
    at = changeIn(clock, at, next);
    if (at >= until) break;
    const beforeMs = offsetMs;
    offsetMs = offsetOf(clock, at);
    if (at > from) spans.push({ ...open, until: at });
    open = { from: at, until, offsetMs, beforeMs };
  }
  spans.push(open);
  return spans;
}

/** The first full second after `same` with another offset, given that `other` has another one. */
function changeIn(clock: Intl.DateTimeFormat, same: number, other: number): number {
  const offsetMs = offsetOf(clock, same);
  let [low, high] = [Math.floor(same / 1000), Math.ceil(other / 1000)];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetOf(clock, middle * 1000) === offsetMs) low = middle;
    else high = middle;
  }
  return high * 1000;
}

function clockOf(timeZone: string): Intl.DateTimeFormat {
  const two = '2-digit';
  return new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: two,
    day: two,
    hour: two,
    minute: two,
    second: two,
  });
}

function offsetOf(clock: Intl.DateTimeFormat, at: number): number {
  const [month, day, year, hour, minute, second] = (clock.format(at).match(/\d+/g) as string[]).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000;
}

/** Zones by lower-case name. Only existing names are added, so it cannot grow without limit. */
const known = new Map<string, Zone>();
/** The three-letter names of the IANA database. The platform accepts others, such as IST, that are ambiguous. */
const THREE_LETTERS = /^(CET|EET|EST|GMT|HST|MET|MST|PRC|ROC|ROK|UCT|UTC|WET)$/i;

/** The zone of an IANA name in upper or lower case; null if there is none, or the name is ambiguous. */
export function findZone(name: string): Zone | null {
  const key = name.toLowerCase();
  const had = known.get(key);
  if (had !== undefined) return had;
  if (!/^[a-z][\w+/-]*$/i.test(name) || (name.length === 3 && !THREE_LETTERS.test(name))) return null;
  let resolved: string;
  try {
    resolved = clockOf(name).resolvedOptions().timeZone;
  } catch {
    return null;
  }
  const zone = new Zone(name, resolved === 'UTC');
  known.set(key, zone);
  return zone;
}

/** A hint with the name that was probably meant; '' if no name is similar. The city alone is enough. */
export function suggestZone(name: string): string {
  const all = ['UTC', ...Intl.supportedValuesOf('timeZone')];
  const city = `/${name.trim().toLowerCase().replaceAll(' ', '_')}`;
  const there = all.find((one) => one.toLowerCase().endsWith(city));
  return there === undefined ? didYouMean(name, all) : `Did you mean '${there}'?`;
}
