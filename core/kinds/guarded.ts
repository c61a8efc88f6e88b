import { placed } from '../calls/securities.ts';
import { isGantryError } from '../errors.ts';
import type { Guard } from '../ports/guard.ts';
import type { Reference } from '../ports/odb.ts';
import { invalid, pointed } from '../records/invalid.ts';

/** What a guard keeps of its part of a definition, which stands `at` that place of the record. Rejects with RECORD_INVALID. */
export async function keptByGuard(
  guard: Guard | undefined,
  own: Record<string, unknown>,
  earlier: Record<string, unknown> | null,
  of: Reference,
  at: string,
): Promise<Record<string, unknown>> {
  if (guard?.keep === undefined) return own;
  try {
    return await guard.keep(own, earlier);
  } catch (thrown) {
    if (!isGantryError(thrown) || thrown.problems === undefined) throw thrown;
    throw invalid(of.kind, of.name, placed(thrown.problems, at).map(pointed));
  }
}
