import { expect } from 'chai';
import fc from 'fast-check';
import { isGantryError } from '../../core/errors.ts';
import type { Reference, Write } from '../../core/ports/odb.ts';
import type { OdbWorld } from './odb-world.ts';

interface Kept {
  readonly version: number;
  readonly body: unknown;
  readonly references: readonly Reference[];
  readonly claims: readonly string[];
}
type State = ReadonlyMap<string, Kept>;

const NAMES = ['a', 'A', 'b', 'c'];

/** Whatever is written, in whatever order: what is refused and what is kept is what the port says in words. */
export function testOdbModel(world: OdbWorld): void {
  it('does with any batches what its port says', async () => {
    let kind = '';
    const name = fc.constantFrom(...NAMES);
    const content = fc.record({
      body: fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
      references: fc.array(name, { maxLength: 2 }),
      claims: fc.array(fc.constantFrom('x', 'y', 'X'), { maxLength: 1 }),
    });
    const step = fc.record({
      action: fc.constantFrom('create' as const, 'create' as const, 'update' as const, 'remove' as const),
      name,
      content,
      // How far the version that is told is from the one that it has when the batch begins.
      off: fc.constantFrom(0, 0, 0, 0, 1, -1),
      told: fc.boolean(),
    });
    const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        kind = world.kind();
        let state: State = new Map();
        for (const batch of all) {
          const writes = batch.map(({ action, name: of, content: { body, references, claims }, off, told }): Write => {
            const version = (state.get(of)?.version ?? 1) + off;
            if (action === 'remove') return world.remove(kind, of, told ? version : undefined);
            const more = {
              body,
              references: references.map((to) => ({ kind, name: to })),
              claims: claims.map((claim) => `${kind} ${claim}`),
            };
            return action === 'create' ? world.create(kind, of, more) : world.update(kind, of, version, more);
          });
          const expected = outcome(state, writes);
          const revision = await world.odb.revision();
          const got = await world.odb.write(writes, world.by).then(
            (written) => written.map((w) => w.version),
            (error: unknown) => (isGantryError(error) ? error.code : Promise.reject(error)),
          );
          if (typeof expected === 'string') expect(got).to.equal(expected);
          else {
            expect(got).to.deep.equal(expected.versions);
            state = expected.state;
          }
          const loaded = await world.other.load([kind]);
          expect(loaded.revision).to.equal(revision + (typeof expected === 'string' ? 0 : writes.length));
          const kept = Object.fromEntries(loaded.records.map((r) => [r.name, [r.version, r.body]]));
          const should = [...state].map(([of, { version, body }]) => [of, [version, JSON.parse(JSON.stringify(body))]]);
          expect(kept).to.deep.equal(Object.fromEntries(should));
        }
      }),
      { numRuns: 40 },
    );
  });
}

/** What a batch comes to: the code of its refusal, or what is kept then. */
function outcome(before: State, writes: readonly Write[]): string | { state: State; versions: number[] } {
  const state = new Map(before);
  const versions: number[] = [];
  for (const write of writes) {
    const there = state.get(write.name);
    if (write.action === 'create' && there !== undefined) return 'RECORD_DUPLICATE';
    if (write.action !== 'create') {
      if (there === undefined) return 'RECORD_NOT_FOUND';
      if (write.version !== undefined && write.version !== there.version) return 'RECORD_STALE';
    }
    if (write.action === 'remove') state.delete(write.name);
    else {
      const { body, references = [], claims = [] } = write;
      state.set(write.name, { version: (there?.version ?? 0) + 1, body, references, claims });
    }
    versions.push(state.get(write.name)?.version ?? 0);
  }
  const touched = new Set(writes.map((w) => w.name));
  const lost = [...state.values()].flatMap((r) => r.references).filter((to) => !state.has(to.name));
  if (lost.some((to) => touched.has(to.name))) return 'RECORD_IN_USE';
  if (lost.length > 0) return 'RECORD_DANGLING';
  const claims = [...state.values()].flatMap((r) => [...new Set(r.claims)]);
  if (new Set(claims).size < claims.length) return 'RECORD_TAKEN';
  return { state, versions };
}
