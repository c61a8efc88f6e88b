import { isGantryError, type Problem, toGantryError } from '../errors.ts';
import { invalid, pointed } from '../records/invalid.ts';

/** Does what would put a record into effect; what it refuses is a problem of the record. Throws RECORD_INVALID or a conflict. */
export function attempted(kind: string, name: string, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    if (!isGantryError(thrown) || thrown.kind !== 'invalid') throw thrown;
    const { message, hint, problems } = toGantryError(thrown);
    const at = `${kind} '${name}'`;
    const placing = (p: Problem) => (p.path.startsWith(at) ? { ...p, path: p.path.slice(at.length) } : p);
    throw invalid(kind, name, (problems ?? [{ path: '', message, hint }]).map(placing).map(pointed));
  }
}
