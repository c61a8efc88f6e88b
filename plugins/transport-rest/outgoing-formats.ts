import type { Codec } from '../../core/ports/index.ts';

/** The loaded codecs by content type. */
export class Formats {
  /** The connection's own. */
  readonly fallback: Codec;
  readonly #exact = new Map<string, Codec>();
  /** `application/*+json` as ['application/', '+json']. */
  readonly #patterns: (readonly [start: string, end: string, codec: Codec])[] = [];

  constructor(codecs: ReadonlyMap<string, Codec>, fallback: Codec) {
    this.fallback = fallback;
    for (const codec of [fallback, ...codecs.values()]) {
      for (const type of codec.contentTypes) {
        const [start = '', end] = type.toLowerCase().split('*');
        if (end !== undefined) this.#patterns.push([start, end, codec]);
        else if (!this.#exact.has(start)) this.#exact.set(start, codec);
      }
    }
  }

  /** Null where no loaded codec knows the type. Parameters of it are passed over. */
  find(contentType: string): Codec | null {
    const type = mediaType(contentType);
    const exact = this.#exact.get(type);
    if (exact !== undefined) return exact;
    const fits = this.#patterns.find(([start, end]) => type.startsWith(start) && type.endsWith(end));
    return fits?.[2] ?? null;
  }
}

export function mediaType(contentType: string): string {
  const [type = ''] = contentType.split(';', 1);
  return type.trim().toLowerCase();
}
/** `charset=iso-8859-1` of `text/xml; charset=iso-8859-1`, or ''. */
export function parametersOf(contentType: string): string {
  const at = contentType.indexOf(';');
  return at === -1 ? '' : contentType.slice(at + 1).trim();
}
