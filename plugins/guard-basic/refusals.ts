/**
 * Credentials that were found wrong, by their digest. What is wrong for a definition stays wrong, so nothing is ever
 * forgotten but for room; what is asked for again stays longest.
 */
export class Refusals {
  readonly #size: number;
  readonly #digests = new Set<string>();

  constructor(size: number) {
    this.#size = size;
  }

  get empty(): boolean {
    return this.#digests.size === 0;
  }

  has(digest: string): boolean {
    if (!this.#digests.delete(digest)) return false;
    this.#digests.add(digest);
    return true;
  }

  add(digest: string): void {
    this.#digests.add(digest);
    if (this.#digests.size <= this.#size) return;
    for (const oldest of this.#digests) {
      this.#digests.delete(oldest);
      return;
    }
  }
}
