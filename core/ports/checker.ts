import type { Problem } from '../errors.ts';

/** Checks the source of a service for faults that running it would not show, e.g. wrong types. */
export interface Checker {
  /** The languages that it can check: 'typescript', 'javascript'. */
  readonly languages: readonly string[];
  /**
   * The problems in the source; empty if there are none. The `path` of a problem is `line:column`. Rejects with
   * CHECK_FAILED if the check itself failed, e.g. the type checker is not installed or took too long.
   */
  check(source: CheckedSource): Promise<readonly Problem[]>;
}

export interface CheckedSource {
  /** E.g. `orders.ts`; for messages. */
  readonly file: string;
  readonly language: 'typescript' | 'javascript';
  readonly source: string;
}
