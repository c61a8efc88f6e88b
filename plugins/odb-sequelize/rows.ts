import type { Change, Stored } from '../../core/api.ts';
import type { Row } from './session.ts';

/** The name as it is searched: only ASCII letters are the same in both cases. */
export function folded(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Numbers arrive as texts from some drivers. */
export function storedOf(row: Row): Stored {
  return {
    kind: String(row['kind']),
    name: String(row['name']),
    version: Number(row['version']),
    body: JSON.parse(String(row['body'])),
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

function optional(text: unknown): unknown {
  return text === null ? null : JSON.parse(String(text));
}
