/** Stable: what stays is on exactly one page, whatever is created and removed meanwhile. */
export interface Page<T> {
  readonly items: readonly T[];
  /** For the next page; null on the last one. Opaque. A malformed one is refused with INPUT_INVALID. */
  readonly next: string | null;
  /** How many there are on all pages. */
  readonly total: number;
}
