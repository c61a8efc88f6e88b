import type { Problem } from '../errors.ts';

/** Reads the source of a service for what running it would not tell, e.g. wrong types. */
export interface Checker {
  /** 'typescript', 'javascript': what it knows to read. */
  readonly languages: readonly string[];
  /**
   * What is wrong; empty: nothing. `path` of a problem is `line:column`. Rejects with CHECK_FAILED where it could not be
   * told, e.g. the program that reads it is not there or took too long.
   */
  check(source: CheckedSource): Promise<readonly Problem[]>;
}

export interface CheckedSource {
  /** E.g. `orders.ts`; for messages. */
  readonly file: string;
  readonly language: 'typescript' | 'javascript';
  readonly source: string;
}
