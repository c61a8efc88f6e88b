import type { TSchema } from 'typebox';
import type { Call, Identity } from '../call.ts';

/** Checks who calls. `compile` runs once per definition; what it returns runs once per call. */
export interface Guard {
  /** Schema of a security definition here, without the `guard` key: as an operator writes it, and as it is kept. */
  readonly definition: TSchema;
  /**
   * What is kept of a definition that an operator wrote: passwords and keys are hashed. Both are JSON, checked against the
   * schema, with secrets in the clear. `earlier` is what is kept now: a secret that is still the same keeps its hash.
   * Gives what is kept already unchanged. Rejects with RECORD_INVALID. Absent: a definition is kept as it is written.
   */
  keep?(
    definition: Readonly<Record<string, unknown>>,
    earlier: Readonly<Record<string, unknown>> | null,
  ): Promise<Record<string, unknown>>;
  /**
   * Secrets arrive as `Secret`. Throws CHANNEL_INVALID for what the schema cannot see.
   * The check throws AUTH_MISSING, AUTH_REJECTED (with a challenge) or AUTH_FORBIDDEN.
   */
  compile(definition: Readonly<Record<string, unknown>>): (call: Call) => Identity | Promise<Identity>;
}
