import { GantryError, type Problem } from '../../core/api.ts';
import { type Key, problemsOf, told } from './definition.ts';
import { isWhole, newPepper, type Pepper, pepperOf, pepperProblem } from './pepper.ts';

type Definition = Readonly<Record<string, unknown>>;

/**
 * Puts a hash in the place of each key. The pepper stays that of `earlier`, so a key that is still the same has the hash
 * that it had, and writing a definition again changes nothing. Rejects with RECORD_INVALID.
 */
export async function keep(definition: Definition, earlier: Definition | null): Promise<Record<string, unknown>> {
  const keys = keysOf(definition);
  const given = definition['pepper'] as string | undefined;
  if (given !== undefined && !isWhole(given)) throw invalid([pepperProblem('pepper')]);
  const before = earlier?.['pepper'] as string | undefined;
  const known = given ?? before;
  const old = known === undefined ? null : pepperOf(known);
  const problems = [...problemsOf(keys, old), ...(known === before ? [] : strangers(keys, keysOf(earlier)))];
  if (problems.length > 0) throw invalid(problems);
  const pepper = old ?? newPepper();
  return { ...definition, pepper: pepper.text, keys: keys.map((one) => hashed(one, pepper)) };
}

function keysOf(definition: Definition | null): readonly Key[] {
  return (definition?.['keys'] ?? []) as readonly Key[];
}

function hashed({ key, ...rest }: Key, pepper: Pepper): Key {
  return key === undefined ? rest : { ...rest, keyHash: pepper.hashOf(key) };
}

/** With a new pepper, hashes of the one before would let nobody in. */
function strangers(keys: readonly Key[], earlier: readonly Key[]): Problem[] {
  const before = new Set(earlier.map(({ keyHash }) => keyHash));
  return keys.flatMap(({ keyHash }, i) => {
    if (keyHash === undefined || !before.has(keyHash)) return [];
    return [
      {
        path: `keys.${i}.keyHash`,
        message: 'was made with another pepper',
        got: 'a secret',
        hint: 'Leave the pepper out to keep the one that there is, or write every key anew.',
      },
    ];
  });
}

function invalid(problems: readonly Problem[]): GantryError {
  return new GantryError('RECORD_INVALID', `The definition is not valid: ${told(problems)}`, { problems });
}
