/** A part of the core: made once, by a function that is given what it needs. */
export interface Part {
  /** Tokens that it is given. If one is missing, so is the part: those that want it get null. */
  readonly needs?: readonly string[];
  /** Tokens that are null where they are missing. */
  readonly wants?: readonly string[];
  /** What an operator does to get the part, where adding a plugin of the missing port is not all of it. */
  readonly hint?: string;
  /** Sync, no I/O. */
  create(given: never): unknown;
}

/** Parts by their tokens. */
export type Parts = Readonly<Record<string, Part>>;
