import { GantryError } from '../../core/api.ts';
import type { HttpRoute } from '../../core/ports/index.ts';

/** What a request's path led to. */
export interface Match {
  readonly place: Place;
  readonly params: Readonly<Record<string, string>>;
}

/** One path and the routes at it, by method. */
export interface Place {
  readonly path: string;
  readonly routes: Map<string, HttpRoute>;
  /** The names of its parameters, in order. */
  readonly names: readonly string[];
}

interface Node {
  readonly literals: Map<string, Node>;
  /** `{name}`: any one segment. The names belong to the places, so that `/a/{x}` and `/a/{y}/b` share a node. */
  any: Node | null;
  /** `{*name}`: all that is left, at least one segment. */
  rest: Place | null;
  place: Place | null;
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze(Object.create(null));
const SLASH = 47;
const PARAM = /^\{(\*?)([A-Za-z_][A-Za-z0-9_-]*)\}$/;

/**
 * A radix tree over path segments. Precedence, segment by segment from the left: a literal, then `{name}`, then
 * `{*rest}`; where a more special way leads nowhere, the next one is tried. So `/a/b` wins over `/a/{x}`, `/a/{x}` over
 * `/{y}/b`, and any of them over `/{*rest}`. Literals compare exactly, after percent-decoding; a trailing slash counts;
 * `%2F` in a segment is part of the segment. Adding and removing one path costs as much as the path is deep.
 */
export class Router {
  readonly #root = node();
  /** Paths without parameters: one look-up. */
  readonly #exact = new Map<string, Place>();

  /** Throws CHANNEL_INVALID for a path that is not one, CHANNEL_DUPLICATE where a method is taken. Returns the undo. */
  add(route: HttpRoute): () => void {
    const segments = parse(route.path);
    const place = this.#placeFor(route.path, segments);
    for (const method of route.methods) {
      const other = place.routes.get(method);
      if (other !== undefined) {
        throw new GantryError('CHANNEL_DUPLICATE', `${method} ${route.path} is taken by '${other.owner}'`, {
          hint: `Give '${route.owner}' another method or path${other.path === route.path ? '' : `; ${other.path} is the same address`}.`,
        });
      }
    }
    for (const method of route.methods) place.routes.set(method, route);
    return () => {
      for (const method of route.methods) if (place.routes.get(method) === route) place.routes.delete(method);
      if (place.routes.size === 0) this.#remove(segments, place);
    };
  }

  /** Null where no path fits. Throws INPUT_MALFORMED for invalid percent-encoding. */
  find(path: string): Match | null {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return { place: exact, params: NO_PARAMS };
    // `OPTIONS *` and other targets that are no paths.
    if (path.charCodeAt(0) !== SLASH) return null;
    const segments = path.slice(1).split('/');
    if (path.includes('%')) for (let i = 0; i < segments.length; i++) segments[i] = decoded(segments[i] as string);
    const values: string[] = [];
    const place = walk(this.#root, segments, 0, values);
    return place === null ? null : { place, params: named(place.names, values) };
  }

  #placeFor(path: string, segments: readonly Segment[]): Place {
    let at = this.#root;
    for (const segment of segments) {
      if (segment.kind === 'rest') return same((at.rest ??= placed(path, segments)), path, segments);
      at = segment.kind === 'any' ? (at.any ??= node()) : child(at, segment.text);
    }
    if (at.place === null) {
      at.place = placed(path, segments);
      if (segments.every((s) => s.kind === 'literal')) this.#exact.set(path, at.place);
    }
    return same(at.place, path, segments);
  }

  #remove(segments: readonly Segment[], place: Place): void {
    const trail: { from: Node; segment: Segment }[] = [];
    let at = this.#root;
    for (const segment of segments) {
      if (segment.kind === 'rest') {
        if (at.rest === place) at.rest = null;
        break;
      }
      const next = segment.kind === 'any' ? at.any : at.literals.get(segment.text);
      if (next === null || next === undefined) return;
      trail.push({ from: at, segment });
      at = next;
    }
    if (at.place === place) at.place = null;
    if (this.#exact.get(place.path) === place) this.#exact.delete(place.path);
    for (const { from, segment } of trail.reverse()) {
      const next = segment.kind === 'any' ? from.any : from.literals.get(segment.text);
      if (next === null || next === undefined || !isBare(next)) return;
      if (segment.kind === 'any') from.any = null;
      else from.literals.delete(segment.text);
    }
  }
}

interface Segment {
  readonly kind: 'literal' | 'any' | 'rest';
  readonly text: string;
}

function walk(at: Node, segments: readonly string[], index: number, values: string[]): Place | null {
  if (index === segments.length) return at.place;
  const segment = segments[index] as string;
  const literal = at.literals.get(segment);
  if (literal !== undefined) {
    const found = walk(literal, segments, index + 1, values);
    if (found !== null) return found;
  }
  if (at.any !== null && segment !== '') {
    values.push(segment);
    const found = walk(at.any, segments, index + 1, values);
    if (found !== null) return found;
    values.pop();
  }
  if (at.rest === null) return null;
  values.push(segments.slice(index).join('/'));
  return at.rest;
}

/** Backtracking is bounded: each of the at most 32 segments of a route has two ways to go on, and the tree's size. */
const MOST_SEGMENTS = 32;

function parse(path: string): Segment[] {
  const wrong = (message: string, hint: string): never => {
    throw new GantryError('CHANNEL_INVALID', `The path '${path}' ${message}`, { hint });
  };
  if (!path.startsWith('/')) wrong("does not begin with '/'", `Write '/${path}'.`);
  if (/[?#\s]/.test(path)) wrong("has '?', '#' or white space", 'Query parameters need no place in the path.');
  const parts = path.slice(1).split('/');
  if (parts.length > MOST_SEGMENTS) wrong(`has more than ${MOST_SEGMENTS} segments`, 'Make it shorter.');
  const seen = new Set<string>();
  return parts.map((part, i): Segment => {
    const param = PARAM.exec(part);
    if (param === null) {
      if (/[{}*]/.test(part))
        wrong(`has a malformed segment '${part}'`, 'A parameter is a whole segment: /orders/{id}.');
      return { kind: 'literal', text: literal(part, path) };
    }
    const [, star, name = ''] = param;
    if (seen.has(name) || name === '__proto__')
      wrong(`uses the parameter '${name}' in a wrong way`, 'Rename one of them.');
    seen.add(name);
    if (star === '') return { kind: 'any', text: name };
    if (i < parts.length - 1)
      wrong(`goes on after '${part}'`, '{*name} takes all that is left, so it is the last segment.');
    return { kind: 'rest', text: name };
  });
}

function literal(part: string, path: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new GantryError('CHANNEL_INVALID', `The path '${path}' has invalid percent-encoding in '${part}'`);
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new GantryError('INPUT_MALFORMED', 'The path has invalid percent-encoding');
  }
}

function named(keys: readonly string[], values: readonly string[]): Record<string, string> {
  const params: Record<string, string> = Object.create(null);
  for (let i = 0; i < keys.length; i++) params[keys[i] as string] = values[i] as string;
  return params;
}
function names(segments: readonly Segment[]): string[] {
  return segments.filter((s) => s.kind !== 'literal').map((s) => s.text);
}
/** Throws CHANNEL_DUPLICATE where the parameters have other names. */
function same(place: Place, path: string, segments: readonly Segment[]): Place {
  if (place.names.join() === names(segments).join()) return place;
  throw new GantryError('CHANNEL_DUPLICATE', `${path} is the same address as ${place.path}`, {
    hint: 'Use the same parameter names at one address, for all of its methods.',
  });
}
function placed(path: string, segments: readonly Segment[]): Place {
  return { path, routes: new Map(), names: names(segments) };
}
function node(): Node {
  return { literals: new Map(), any: null, rest: null, place: null };
}
function child(of: Node, segment: string): Node {
  let found = of.literals.get(segment);
  if (found === undefined) of.literals.set(segment, (found = node()));
  return found;
}
function isBare({ literals, any, rest, place }: Node): boolean {
  return literals.size === 0 && any === null && rest === null && place === null;
}
