import { GantryError } from '../../core/api.ts';
import type { Codec } from '../../core/ports/index.ts';

/** Chooses formats by media type. What it found once for a header's text it remembers. */
export class Negotiation {
  readonly #codecs: readonly Codec[];
  readonly #read = new Map<string, { codec: Codec; parameters: string }>();
  readonly #write = new Map<string, Codec>();

  /** The channel's own codec first. */
  constructor(codecs: readonly Codec[]) {
    this.#codecs = codecs;
  }

  /** The codec that reads a content type. Throws MEDIA_UNSUPPORTED. */
  reader(contentType: string): { readonly codec: Codec; readonly parameters: string } {
    const known = this.#read.get(contentType);
    if (known !== undefined) return known;
    const split = contentType.indexOf(';');
    const type = (split === -1 ? contentType : contentType.slice(0, split)).trim().toLowerCase();
    const parameters = split === -1 ? '' : contentType.slice(split + 1).trim();
    const codec = this.#codecs.find((c) => c.contentTypes.some((own) => matches(own, type)));
    if (codec === undefined) {
      throw new GantryError('MEDIA_UNSUPPORTED', `The content type '${type.slice(0, 80)}' is not supported here`, {
        problems: [
          { path: 'content-type', message: 'is not supported here', expected: this.#types(), got: type.slice(0, 80) },
        ],
      });
    }
    return remember(this.#read, contentType, { codec, parameters });
  }

  /** The codec that an Accept header wants most (RFC 9110, 12.5.1). Throws REPLY_UNACCEPTABLE. */
  writer(accept: string): Codec {
    const known = this.#write.get(accept);
    if (known !== undefined) return known;
    const ranges = accept
      .split(',')
      .map(range)
      .filter(({ type }) => type !== '');
    // Empty is as good as absent (RFC 9110, 5.6.1 and 12.5.1).
    if (ranges.length === 0) return this.#codecs[0] as Codec;
    let best: Codec | null = null;
    let most = 0;
    for (const codec of this.#codecs) {
      const quality = qualityOf(codec, ranges);
      if (quality > most) [best, most] = [codec, quality];
    }
    if (best === null) {
      throw new GantryError('REPLY_UNACCEPTABLE', 'None of the accepted content types can be given', {
        problems: [
          {
            path: 'accept',
            message: 'names nothing that can be given',
            expected: this.#types(),
            got: accept.slice(0, 80),
          },
        ],
      });
    }
    return remember(this.#write, accept, best);
  }

  #types(): string {
    return this.#codecs.map((c) => c.contentTypes[0]).join(', ');
  }
}

interface Range {
  readonly type: string;
  readonly quality: number;
}

function range(text: string): Range {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const q = parameters.find((p) => p.startsWith('q='));
  const quality = q === undefined ? 1 : Number(q.slice(2));
  return { type, quality: Number.isFinite(quality) ? Math.min(1, Math.max(0, quality)) : 0 };
}

/** The most special range that a codec falls under decides. */
function qualityOf(codec: Codec, ranges: readonly Range[]): number {
  let quality = 0;
  let special = -1;
  for (const { type, quality: q } of ranges) {
    const rank = type === '*/*' ? 0 : type.endsWith('/*') ? 1 : 2;
    if (rank <= special) continue;
    const fits =
      rank === 0 ||
      codec.contentTypes.some((own) => (rank === 1 ? own.startsWith(type.slice(0, -1)) : matches(own, type)));
    if (fits) [quality, special] = [q, rank];
  }
  return quality;
}

/** `application/*+json` stands for every type with that suffix. */
function matches(own: string, type: string): boolean {
  if (own === type) return true;
  const star = own.indexOf('/*+');
  return star !== -1 && type.startsWith(own.slice(0, star + 1)) && type.endsWith(own.slice(star + 2));
}

/** Headers are callers' text: what is remembered of them is bounded. */
function remember<T>(map: Map<string, T>, key: string, value: T): T {
  if (map.size < 100 && key.length < 300) map.set(key, value);
  return value;
}
