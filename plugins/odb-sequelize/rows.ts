import type { Logger } from '../../core/api.ts';
import type { Change, Stored } from '../../core/ports/index.ts';
import type { Row } from './session.ts';

/** The name as it is searched: only ASCII letters are the same in both cases. */
export function folded(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Numbers arrive as texts from some drivers. A body that is none counts as empty, and the log tells whose it is. */
export function storedOf(row: Row, log: Logger): Stored {
  const [kind, name] = [String(row['kind']), String(row['name'])];
  return {
    kind,
    name,
    version: Number(row['version']),
    body: bodyOf(String(row['body']), () =>
      log.error({ kind, record: name }, 'the body of a record is no JSON object: it counts as empty; give it anew'),
    ),
    changedAt: new Date(Number(row['changed_at'])),
    changedBy: String(row['changed_by']),
    revision: Number(row['revision']),
  };
}

export function changeOf(row: Row): Change {
  return {
    revision: Number(row['revision']),
    action: row['action'] as Change['action'],
    kind: String(row['kind']),
    name: String(row['name']),
    version: Number(row['version']),
    changedAt: new Date(Number(row['changed_at'])),
    changedBy: String(row['changed_by']),
    cid: row['cid'] === null ? null : String(row['cid']),
    before: optional(row['was']),
    after: optional(row['became']),
  };
}

/** Who changes the database by hand may leave what is no JSON: one record must not keep all others away. */
function bodyOf(text: string, damaged: () => void): Stored['body'] {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Stored['body'];
  } catch {
    // Told below.
  }
  damaged();
  return {};
}

function optional(text: unknown): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(String(text));
  } catch {
    return text;
  }
}
