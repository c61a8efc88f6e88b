/**
 * Where a problem stands in a value: its steps are keys of objects and positions in lists, from the outside in. A path is
 * printed for callers as a JSON pointer (RFC 6901), `/headers/a.b/0`, and for operators as a key, `.headers["a.b"].0`. Both
 * forms hold every key, so that each can be read back. What stands before them for people, e.g. `channels[0] (orders)` or
 * `plugins.http.koa`, is not read back.
 */
export type Path = readonly string[];

/** A key that needs no quotes. */
const PLAIN = /^[\w$-]+$/;
/** A quoted key, a position, or a plain key with or without its dot. A bracket of another kind belongs to a plain key. */
const STEP = /\[("(?:[^"\\]|\\.)*")\]|\[(\d+)\]|\.?((?:[^.[]|\[(?!"(?:[^"\\]|\\.)*"\]|\d+\]))+)|\./gy;

/** `['headers', 'a/b']` as `/headers/a~1b`; no steps as the empty text. */
export function pointerOf(steps: readonly (string | number)[]): string {
  return steps.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** `['headers', 'a.b', '0']` as `.headers["a.b"].0`; no steps as the empty text. */
export function keyOf(steps: readonly (string | number)[]): string {
  return steps.map((step) => (PLAIN.test(String(step)) ? `.${step}` : `[${JSON.stringify(String(step))}]`)).join('');
}

/** Reads either form. What plugins write may lack the first dot, e.g. `users.0.password`. */
export function stepsOf(text: string): Path {
  if (text.startsWith('/')) {
    const steps = text.slice(1).split('/');
    return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  }
  return [...text.matchAll(STEP)].flatMap(([, quoted, index, plain]) => {
    if (quoted !== undefined) return [JSON.parse(quoted) as string];
    const step = index ?? plain;
    return step === undefined ? [] : [step];
  });
}
