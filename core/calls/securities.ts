import { type Static, type TSchema, Type } from 'typebox';
import type { Call, Identity } from '../call.ts';
import { didYouMean, GantryError, isGantryError, type Problem, toGantryError } from '../errors.ts';
import { keyOf, stepsOf } from '../path.ts';
import type { Guard } from '../ports/guard.ts';
import { compileConfig } from '../schema/check.ts';
import { copy } from '../schema/copy.ts';
import { wrapSecrets } from '../schema/secret.ts';

/** One security definition as it is written: who may call, shared by the channels that name it. */
export const SecurityDefinition = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, description: 'Unique among security definitions' }),
    guard: Type.String({ description: "The name of a loaded guard, e.g. 'basic'" }),
    definition: Type.Record(Type.String(), Type.Unknown(), { description: "The guard's own keys" }),
  },
  { additionalProperties: false },
);
export type SecurityDefinition = Static<typeof SecurityDefinition>;

/** Who may call a channel: definitions by name, any of which lets in, or one of the channel's own. */
export const ChannelSecurity = Type.Unsafe<string | readonly string[] | ({ guard: string } & Record<string, unknown>)>(
  Type.Union(
    [
      Type.String({ minLength: 1 }),
      Type.Array(Type.String({ minLength: 1 }), { minItems: 1, uniqueItems: true }),
      Type.Object(
        { guard: Type.String({ description: 'The name of a loaded guard' }) },
        { additionalProperties: true, description: "One of the channel's own: `guard` and the guard's own keys" },
      ),
    ],
    { description: 'Who may call: a security definition by name, a list of them (any lets in), or one of its own' },
  ),
);
export type ChannelSecurity = Static<typeof ChannelSecurity>;

const NONE: readonly GantryError[] = Object.freeze([]);

type Check = (call: Call) => Identity | Promise<Identity>;

/** The place of one definition. Channels hold the slot, so a changed definition is an assignment and no rebinding. */
interface Slot {
  readonly name: string;
  /** Null while there is no such definition. */
  definition: SecurityDefinition | null;
  check: Check;
}

/** Compiles security definitions, and lends their checks to channels. */
export class Securities {
  readonly #guards: ReadonlyMap<string, Guard>;
  /** Of the definitions that there are. */
  readonly #slots = new Map<string, Slot>();
  /** Of names that channels wait for: as long as there are such channels, and no longer. */
  readonly #vacant = new Map<string, WeakRef<Slot>>();
  readonly #left = new FinalizationRegistry<string>((name) => {
    if (this.#vacant.get(name)?.deref() === undefined) this.#vacant.delete(name);
  });
  readonly #schemas = new Map<TSchema, ReturnType<typeof compileConfig>>();

  constructor(guards: ReadonlyMap<string, Guard>) {
    this.#guards = guards;
  }

  /** What is wrong with a definition; nothing is defined. Fills in the guard's defaults. */
  check({ guard: name, definition }: Omit<SecurityDefinition, 'name'>, at: string, key = 'definition'): Problem[] {
    const guard = this.#guards.get(name);
    const path = key === '' ? at : `${at}.${key}`;
    if (guard === undefined) {
      const known = [...this.#guards.keys()];
      return [
        {
          path: `${at}.guard`,
          message: `names what is not there: '${name}'`,
          expected: known.length > 0 ? `one of ${known.join(', ')}` : 'a guard that is loaded',
          got: name,
          hint: didYouMean(name, known) || `Add guard.${name} to "plugins" in the config.`,
        },
      ];
    }
    let validate = this.#schemas.get(guard.definition);
    if (validate === undefined) this.#schemas.set(guard.definition, (validate = compileConfig(guard.definition)));
    return [...validate(definition, path)];
  }

  /** Makes a definition live, in place of what was there. Throws CHANNEL_INVALID and changes nothing. */
  define(given: SecurityDefinition): void {
    const definition = copy(given);
    const problems = this.check(definition, `security '${given.name}'`);
    if (problems.length > 0) throw invalid(`Security definition '${given.name}'`, problems);
    this.defineChecked(definition);
  }

  /** The same for a definition that check() has found nothing wrong with. */
  defineChecked(definition: SecurityDefinition): void {
    const { name } = definition;
    const check = this.compile(definition.guard, definition.definition, `security '${name}'.definition`);
    const slot = Object.assign(this.#slot(name), { definition, check });
    this.#slots.set(name, slot);
    this.#vacant.delete(name);
  }

  /** From now on the channels that name it let nobody in by it. */
  retire(name: string): void {
    const slot = this.#slots.get(name);
    if (slot === undefined) return;
    this.#slots.delete(name);
    this.#wait(Object.assign(slot, vacant(name)));
  }

  has(name: string): boolean {
    return this.#slots.has(name);
  }
  /** In alphabetical order. */
  names(): string[] {
    return [...this.#slots.keys()].sort();
  }

  /** The check that a guard makes of a definition, which stands `at` that place. Throws CHANNEL_INVALID. */
  compile(guard: string, definition: Record<string, unknown>, at: string): Check {
    const found = this.#guards.get(guard) as Guard;
    try {
      return found.compile(wrapSecrets(found.definition, definition) as Record<string, unknown>);
    } catch (thrown) {
      if (!isGantryError(thrown) || thrown.problems === undefined) throw thrown;
      throw invalid('The guard', placed(thrown.problems, at));
    }
  }

  /** The check of one definition or of several, any of which lets in; a name that is not there yet lets nobody in. */
  shared(names: readonly string[]): Check {
    const slots = names.map((name) => this.#slot(name));
    const [first] = slots as [Slot, ...Slot[]];
    if (slots.length === 1) return (call) => by(first, call);
    return (call) => anyOf(slots, 0, call, NONE);
  }

  #slot(name: string): Slot {
    return this.#slots.get(name) ?? this.#vacant.get(name)?.deref() ?? this.#wait(vacant(name));
  }

  #wait(slot: Slot): Slot {
    this.#vacant.set(slot.name, new WeakRef(slot));
    this.#left.register(slot, slot.name);
    return slot;
  }
}

function by(slot: Slot, call: Call): Identity | Promise<Identity> {
  call.security = slot.name;
  return slot.check(call);
}

/** One after the other; without a promise as long as the guards need none. */
function anyOf(
  slots: readonly Slot[],
  index: number,
  call: Call,
  refusals: readonly GantryError[],
): Identity | Promise<Identity> {
  if (index === slots.length) {
    call.security = null;
    throw weightiest(refusals);
  }
  const next = (thrown: unknown) => anyOf(slots, index + 1, call, [...refusals, toGantryError(thrown)]);
  try {
    const identity = by(slots[index] as Slot, call);
    return identity instanceof Promise ? identity.catch(next) : identity;
  } catch (thrown) {
    return next(thrown);
  }
}

/** Of several refusals the caller is told the one that says most; where it is asked for credentials, all challenges. */
function weightiest(refusals: readonly GantryError[]): GantryError {
  const most = refusals.reduce((one, other) => (weight(other) > weight(one) ? other : one));
  if (most.challenge === undefined) return most;
  const challenges = new Set(refusals.flatMap(({ challenge }) => challenge ?? []));
  return new GantryError(most.code as 'AUTH_REJECTED', most.message, {
    challenge: [...challenges].join(', '),
    ...(most.hint === undefined ? {} : { hint: most.hint }),
  });
}

function weight({ code, kind }: GantryError): number {
  if (kind === 'forbidden') return 3;
  if (kind !== 'unauthorized') return 2;
  return code === 'AUTH_REJECTED' ? 1 : 0;
}

function vacant(name: string): Slot {
  const check = () => {
    throw new GantryError('UNAVAILABLE', 'The channel is not available', {
      hint: `There is no security definition '${name}', or it is not valid: nobody is let in by it.`,
      retryAfterMs: 5000,
    });
  };
  return { name, definition: null, check };
}

/** A guard knows its definition, not where that stands. */
export function placed(problems: readonly Problem[], at: string): Problem[] {
  return problems.map((p) => ({ ...p, path: `${at}${keyOf(stepsOf(p.path))}` }));
}

function invalid(what: string, problems: readonly Problem[]): GantryError {
  const told = problems.map((p) => `${p.path} ${p.message}`).join('; ');
  return new GantryError('CHANNEL_INVALID', `${what} is not valid: ${told}`, { problems });
}
