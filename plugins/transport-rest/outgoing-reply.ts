import { type Duplex, finished, pipeline, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { brotliDecompress, createBrotliDecompress, createGunzip, createInflate, gunzip, inflate } from 'node:zlib';
import { GantryError, isGantryError } from '../../core/api.ts';
import { type Place, told, unavailable, unreadable } from './outgoing-errors.ts';
import type { AnswerHeaders, Raw } from './outgoing-exchange.ts';
import { type Formats, mediaType, parametersOf } from './outgoing-formats.ts';

/** What a message resolves with. Other statuses reject, with the same as `error.answer`. */
export interface RestAnswer<T = unknown> {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: AnswerHeaders;
  /** Decoded; null where there is none; a Readable where `to.stream` asked for one. */
  readonly body: T;
}

type Unpack = (packed: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;
interface Packing {
  readonly whole: Unpack;
  stream(): Duplex;
}
const GZIP: Packing = { whole: promisify(gunzip) as Unpack, stream: () => createGunzip() };
const PACKINGS: ReadonlyMap<string, Packing> = new Map([
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  ['deflate', { whole: promisify(inflate) as Unpack, stream: () => createInflate() }],
  ['br', { whole: promisify(brotliDecompress) as Unpack, stream: () => createBrotliDecompress() }],
]);
/** More than one layer is unusual; many are an attack. */
const MAX_LAYERS = 3;

/** Turns raw answers of one connection into what a service gets. */
export class ReplyReader {
  readonly #formats: Formats;
  readonly #maxBytes: number;

  constructor(formats: Formats, maxBytes: number) {
    this.#formats = formats;
    this.#maxBytes = maxBytes;
  }

  /** Throws OUTGOING_MALFORMED. */
  async read(place: Place, raw: Raw): Promise<RestAnswer> {
    const { status, headers, body } = raw;
    if (body === null) return { status, headers, body: null };
    // A redirect that is not followed: its page for people is nice to have.
    if (status >= 300 && !(body instanceof Readable)) return { status, headers, body: await this.#spare(place, raw) };
    const packings = layers(place, headers);
    if (body instanceof Readable) return { status, headers, body: unpacked(place, body, packings) };
    const whole = await this.#unpack(place, body, packings);
    return { status, headers, body: whole.length === 0 ? null : this.#decode(place, headers, whole) };
  }

  /** The error for a status that is not wanted, with as much of the body as could be read. */
  async refusal(place: Place, raw: Raw): Promise<GantryError> {
    const { status, headers } = raw;
    const answer = { status, headers, body: await this.#spare(place, raw) };
    if ([429, 502, 503, 504].includes(status)) {
      const retryAfterMs = retryAfter(headers);
      const { message, hint = '' } = unavailable(place, `was answered ${status}.`);
      return new GantryError('OUTGOING_UNAVAILABLE', message, {
        hint,
        answer,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
    }
    return rejected(place, `was answered ${status}.`, answer);
  }

  async #spare(place: Place, raw: Raw): Promise<unknown> {
    if (!(raw.body instanceof Buffer)) return null;
    let whole = raw.body;
    try {
      whole = await this.#unpack(place, whole, layers(place, raw.headers));
      return whole.length === 0 ? null : this.#decode(place, raw.headers, whole);
    } catch {
      // E.g. the HTML page of a proxy, where the connection speaks JSON.
      return /^text\//.test(mediaType(header(raw.headers, 'content-type'))) ? whole.toString('utf8') : null;
    }
  }

  #decode(place: Place, headers: AnswerHeaders, whole: Buffer): unknown {
    const type = header(headers, 'content-type');
    const known = type === '' ? null : this.#formats.find(type);
    try {
      return (known ?? this.#formats.fallback).decode(whole, known === null ? '' : parametersOf(type));
    } catch (cause) {
      const why = isGantryError(cause) ? ` (${cause.code})` : '';
      const advice = known === null ? ' No loaded codec knows that type: load one, or ask with to.stream.' : '';
      const shown = JSON.stringify(type.slice(0, 80));
      throw unreadable(place, `was answered with a body of type ${shown} that cannot be read${why}.${advice}`, cause);
    }
  }

  async #unpack(place: Place, packed: Buffer, packings: readonly Packing[]): Promise<Buffer> {
    let whole = packed;
    for (const { whole: unpack } of packings) {
      try {
        whole = await unpack(whole, { maxOutputLength: this.#maxBytes });
      } catch (cause) {
        const large = (cause as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE';
        const what = large ? `was answered with more than ${this.#maxBytes} bytes (maxReplyBytes).` : BROKEN;
        throw unreadable(place, what, cause);
      }
    }
    return whole;
  }
}
const BROKEN = 'was answered with a compressed body that is broken.';

/** For statuses and redirects that trying again does not help. */
export function rejected(place: Place, what: string, answer: RestAnswer): GantryError {
  return new GantryError('OUTGOING_REJECTED', 'A system that this service needs refused the request', {
    hint: told(place, what),
    answer,
  });
}

/** Retry-After (RFC 9110, 10.2.3) in ms, from seconds or a date; a day at most. */
export function retryAfter(headers: AnswerHeaders): number | undefined {
  const value = header(headers, 'retry-after').trim();
  // Date.parse() would take '-5' and '1.5' for dates.
  if (!/^(\d+$|[A-Z][a-z]+,? )/.test(value)) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(86_400_000, Math.max(0, ms));
}

export function header(headers: AnswerHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.[0] ?? '');
}

/** What to undo, in that order (RFC 9110, 8.4). */
function layers(place: Place, headers: AnswerHeaders): Packing[] {
  const names = [headers['content-encoding'] ?? []].flat().join(',').toLowerCase().split(',');
  const named = names.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity');
  if (named.length > MAX_LAYERS) throw unreadable(place, `was answered with a body packed ${named.length} times.`);
  return named.reverse().map((name) => {
    const packing = PACKINGS.get(name);
    if (packing !== undefined) return packing;
    throw unreadable(
      place,
      `was answered with a content-encoding that is not known (${JSON.stringify(name.slice(0, 40))}).`,
    );
  });
}

function unpacked(place: Place, body: Readable, packings: readonly Packing[]): Readable {
  const [first, ...rest] = packings.map((packing) => packing.stream());
  if (first === undefined) return body;
  const last = rest.at(-1) ?? first;
  pipeline([body, first, ...rest], () => {});
  const named = Readable.from(withOurErrors(place, last), { objectMode: false });
  // A reader that goes away before the first byte leaves the generator unstarted, and its `finally` unrun.
  finished(named, () => last.destroy());
  named.on('error', () => {});
  return named;
}

async function* withOurErrors(place: Place, source: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of source) yield chunk as Buffer;
  } catch (cause) {
    throw isGantryError(cause) ? cause : unreadable(place, BROKEN, cause);
  }
}
