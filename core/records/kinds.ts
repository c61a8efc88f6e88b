import { didYouMean, GantryError } from '../errors.ts';
import type { Kind } from '../ports/kind.ts';

/** Every kind of record, in the order in which records are put into effect: the core's own, then those of plugins. */
export class Kinds {
  readonly #own: Readonly<Record<string, Kind>>;
  readonly #brought: ReadonlyMap<string, Kind>;

  /** Plugins may add theirs to `brought` until the first record is read. */
  constructor(own: Readonly<Record<string, Kind>>, brought: ReadonlyMap<string, Kind> = new Map()) {
    this.#own = own;
    this.#brought = brought;
  }

  /** Throws PLUGIN_MALFORMED where a plugin brings a kind that the core has. */
  refuseTwice(): void {
    for (const name of this.#brought.keys()) {
      if (!Object.hasOwn(this.#own, name)) continue;
      throw new GantryError('PLUGIN_MALFORMED', `The plugin kind.${name} brings a kind that the core has: '${name}'`, {
        hint: 'Give the plugin another name: what follows the dot is the name of its kind.',
      });
    }
  }

  find(name: string): Kind | null {
    return (Object.hasOwn(this.#own, name) ? this.#own[name] : this.#brought.get(name)) ?? null;
  }

  /** Throws RECORD_INVALID for a kind that does not exist. */
  get(name: string): Kind {
    const kind = this.find(name);
    if (kind !== null) return kind;
    const known = this.names();
    throw new GantryError('RECORD_INVALID', `There is no kind of record '${name}'`, {
      problems: [
        { path: '/kind', message: 'is not a kind of record', expected: `one of ${known.join(', ')}`, got: name },
      ],
      hint: didYouMean(name, known),
    });
  }

  names(): string[] {
    return [...Object.keys(this.#own), ...this.#brought.keys()];
  }
}
