import { GantryError, isGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';

/** The hooks of a process: a table of tapable's, and the names of those whose taps decide something. */
export interface Hooks {
  readonly table: Readonly<Record<string, { readonly taps: readonly unknown[] }>>;
  readonly deciding: ReadonlySet<string>;
}

interface Tap {
  name: string;
  type: string;
  fn: (...args: unknown[]) => unknown;
}

/**
 * After create(): every tap must be named after its plugin, and there will be no more taps. A tap that throws is
 * named; where it only observes, it is logged and changes nothing.
 */
export function sealHooks(
  { table, deciding }: Hooks,
  ids: ReadonlySet<string>,
  log: Logger,
  gone: ReadonlySet<string> = new Set(),
): void {
  for (const [name, hook] of Object.entries(table)) {
    for (const tap of hook.taps as Tap[]) {
      if (!ids.has(tap.name)) {
        throw new GantryError('HOOK_MISUSED', `Hook '${name}' has a tap named '${tap.name}'`, {
          hint: `A tap is named after its plugin: hooks.${name}.tap(id, ...) with the id that create() was given.`,
        });
      }
      const fn = deciding.has(name) ? named(tap, name) : observing(tap, name, log);
      tap.fn = unlessGone(tap, fn, gone);
    }
    const refuse = () => {
      throw new GantryError('HOOK_MISUSED', `Hook '${name}' is sealed`, { hint: 'Tap hooks in create(), not later.' });
    };
    Object.assign(hook, { tap: refuse, tapAsync: refuse, tapPromise: refuse });
  }
}

function named({ name, fn, type }: Tap, hook: string): Tap['fn'] {
  const blame = (thrown: unknown): GantryError =>
    isGantryError(thrown)
      ? thrown
      : new GantryError('TAP_FAILED', `${name} failed in hook '${hook}'`, { cause: thrown });
  if (type === 'async') {
    return (...args) => {
      const done = args.pop() as (error: unknown, ...results: unknown[]) => void;
      try {
        fn(...args, (error: unknown, ...results: unknown[]) => done(error ? blame(error) : error, ...results));
      } catch (thrown) {
        done(blame(thrown));
      }
    };
  }
  return (...args) => {
    try {
      const result = fn(...args);
      if (!isPromise(result)) return result;
      return Promise.resolve(result).catch((thrown: unknown) => {
        throw blame(thrown);
      });
    } catch (thrown) {
      throw blame(thrown);
    }
  };
}

function observing({ name, fn }: Tap, hook: string, log: Logger): Tap['fn'] {
  const tell = (error: unknown) => log.error({ plugin: name, hook, error }, 'a tap threw; the call goes on without it');
  return (...args) => {
    try {
      const result = fn(...args);
      // Nobody waits for it: a rejection that nobody hears would end the process.
      if (isPromise(result)) result.then(undefined, tell);
    } catch (error) {
      tell(error);
    }
  };
}

/** A plugin that was given up decides nothing and sees nothing. */
function unlessGone({ name, type }: Tap, fn: Tap['fn'], gone: ReadonlySet<string>): Tap['fn'] {
  return (...args) => {
    if (!gone.has(name)) return fn(...args);
    if (type === 'async') (args.at(-1) as () => void)();
    return type === 'promise' ? Promise.resolve() : undefined;
  };
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
