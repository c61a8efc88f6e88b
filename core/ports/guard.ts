import type { TSchema } from 'typebox';
import type { Call, Identity } from '../call.ts';

/** Authenticates callers. `compile` runs once per definition; the check that it returns runs once per call. */
export interface Guard {
  /** Schema of this guard's security definitions, without the `guard` key, both as written and as kept. */
  readonly definition: TSchema;
  /**
   * Gives the form in which a definition is kept: passwords and keys are hashed. `earlier` is what is kept now, if
   * anything: a secret that has not changed keeps its hash. Both arguments are JSON, checked against the schema, with
   * secrets in the clear. A definition that is in its kept form already is returned unchanged. Rejects with
   * RECORD_INVALID. Absent: a definition is kept as it is written.
   */
  keep?(
    definition: Readonly<Record<string, unknown>>,
    earlier: Readonly<Record<string, unknown>> | null,
  ): Promise<Record<string, unknown>>;
  /**
   * Compiles a definition to a check of calls. Secrets arrive as `Secret`. Throws CHANNEL_INVALID for faults that the
   * schema cannot see. The check throws AUTH_MISSING, AUTH_REJECTED (with a challenge) or AUTH_FORBIDDEN.
   */
  compile(definition: Readonly<Record<string, unknown>>): (call: Call) => Identity | Promise<Identity>;
}
