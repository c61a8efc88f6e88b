import type { TSchema } from 'typebox';
import type { Call, Identity } from '../call.ts';

/** Checks who calls. `compile` runs once per definition; what it returns runs once per call. */
export interface Guard {
  /** Schema of a channel's `security` block here, without the `guard` key. */
  readonly definition: TSchema;
  /** The check throws AUTH_MISSING, AUTH_REJECTED (with a challenge) or AUTH_FORBIDDEN. */
  compile(definition: Readonly<Record<string, unknown>>): (call: Call) => Identity | Promise<Identity>;
}
