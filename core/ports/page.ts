/** One page of a list. An item that stays is on exactly one page, even if others are created or removed meanwhile. */
export interface Page<T> {
  readonly items: readonly T[];
  /** An opaque cursor for the next page; null on the last one. A malformed cursor is refused with INPUT_INVALID. */
  readonly next: string | null;
  /** The number of items on all pages together. */
  readonly total: number;
}
