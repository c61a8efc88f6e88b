import { createHash } from 'node:crypto';
import { GantryError } from '../../core/api.ts';
import type { Fate } from './plan.ts';
import type { Session } from './session.ts';
import { listed, raw, sql } from './sql.ts';

export interface Claim {
  /** SHA-256, in hexadecimal. */
  readonly digest: string;
  /** As a JSON string. */
  readonly text: string;
}

/** Each once. */
export function claimsOf(content: { readonly claims?: readonly string[] }): Claim[] {
  return [...new Set(content.claims ?? [])].map((claim) => {
    const text = JSON.stringify(claim);
    return { digest: createHash('sha256').update(text).digest('hex'), text };
  });
}

/** Once the records of a batch hold no claims any more. Throws RECORD_TAKEN where another record has one. */
export async function checkClaims(session: Session, fates: readonly Fate[]): Promise<void> {
  const wanted = new Map<string, { readonly claim: Claim; readonly by: Fate }>();
  for (const by of fates) {
    for (const claim of by.after === null ? [] : claimsOf(by.after.content)) {
      const other = wanted.get(claim.digest);
      if (other !== undefined) throw taken(claim, by, other.by);
      wanted.set(claim.digest, { claim, by });
    }
  }
  for (const among of listed(raw('[digest]'), [...wanted.keys()])) {
    const query = sql`SELECT [digest], [kind], [name] FROM [gantry_claims] WHERE ${among}`;
    for (const { digest, kind, name } of await session.rows(query)) {
      const { claim, by } = wanted.get(String(digest)) as { claim: Claim; by: Fate };
      throw taken(claim, by, { kind: String(kind), name: String(name) });
    }
  }
}

function taken(claim: Claim, by: Named, holder: Named): GantryError {
  const text = claim.text.length > 200 ? `${claim.text.slice(0, 200)}..."` : claim.text;
  return new GantryError(
    'RECORD_TAKEN',
    `${by.kind} '${by.name}' cannot have ${text}: ${holder.kind} '${holder.name}' has it`,
  );
}
type Named = Pick<Fate, 'kind' | 'name'>;
