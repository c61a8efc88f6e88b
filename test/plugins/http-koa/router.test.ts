import { expect } from 'chai';
import fc from 'fast-check';
import type { HttpRoute } from '../../../core/ports/http.ts';
import { Router } from '../../../plugins/http-koa/router.ts';

function route(path: string, ...methods: string[]): HttpRoute {
  return {
    owner: `${path}!`,
    methods: methods.length === 0 ? ['GET'] : methods,
    path,
    handle: async () => ({ status: 200, headers: {}, body: null }),
  };
}

function router(...paths: string[]): Router {
  const made = new Router();
  for (const path of paths) made.add(route(path));
  return made;
}

/** The pattern that a path leads to and its parameters; null where none fits. */
function found(by: Router, path: string): { path: string; params: Record<string, string> } | null {
  const match = by.find(path);
  return match === null ? null : { path: match.place.path, params: { ...match.params } };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'nothing was thrown';
}

/** Tries every pattern by itself and takes the one whose segments are the most special, from the left. */
function oracle(patterns: readonly string[], path: string): { path: string; params: Record<string, string> } | null {
  const given = path.slice(1).split('/').map(decodeURIComponent);
  let best: { path: string; params: Record<string, string>; rank: string } | null = null;
  for (const pattern of patterns) {
    const params: Record<string, string> = {};
    let rank = '';
    let fits = true;
    const wanted = pattern.slice(1).split('/');
    for (const [i, segment] of wanted.entries()) {
      const value = given[i];
      if (segment.startsWith('{*')) {
        if (value === undefined) fits = false;
        params[segment.slice(2, -1)] = given.slice(i).join('/');
        rank += '2';
      } else if (segment.startsWith('{')) {
        if (value === undefined || value === '') fits = false;
        params[segment.slice(1, -1)] = value as string;
        rank += '1';
      } else {
        if (decodeURIComponent(segment) !== value) fits = false;
        rank += '0';
      }
    }
    if (!pattern.includes('{*') && given.length !== wanted.length) fits = false;
    if (fits && (best === null || rank < best.rank)) best = { path: pattern, params, rank };
  }
  return best === null ? null : { path: best.path, params: best.params };
}

const WORDS = ['a', 'b', '', 'c%20d', 'e%2Ff', 'ł'];
/** Parameters are named by their place, so that one address has one set of names. */
const patterns = fc.uniqueArray(
  fc
    .tuple(fc.array(fc.constantFrom(...WORDS, '{}', '{}'), { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([segments, rest]) => {
      const named = segments.map((s, i) => (s === '{}' ? `{p${i}}` : s));
      return `/${[...named, ...(rest ? [`{*r${named.length}}`] : [])].join('/')}`;
    }),
  { maxLength: 25, selector: (pattern) => decodeURIComponent(pattern) },
);
const asked = fc
  .array(fc.constantFrom(...WORDS, '%61', 'z', '%C5%82'), { minLength: 1, maxLength: 7 })
  .map((segments) => `/${segments.join('/')}`);

describe('http.koa: the router', () => {
  it('finds what trying every pattern by the documented precedence finds', () => {
    let hits = 0;
    fc.assert(
      fc.property(patterns, fc.array(asked, { minLength: 20, maxLength: 20 }), (all, paths) => {
        const tree = router(...all);
        for (const path of paths) {
          const expected = oracle(all, path);
          if (expected !== null) hits++;
          expect(found(tree, path), path).to.deep.equal(expected);
        }
      }),
      { numRuns: 300 },
    );
    expect(hits, 'paths that led somewhere').to.be.greaterThan(300);
  });

  it('is after any adding and removing what a fresh one with the rest would be', () => {
    const steps = fc.array(fc.tuple(fc.nat(24), fc.boolean()), { maxLength: 80 });
    fc.assert(
      fc.property(patterns, steps, fc.array(asked, { minLength: 10, maxLength: 10 }), (all, plan, paths) => {
        const tree = new Router();
        const undos = new Map<string, () => void>();
        for (const [at, add] of plan) {
          const path = all[at % Math.max(1, all.length)];
          if (path === undefined) continue;
          if (add && !undos.has(path)) undos.set(path, tree.add(route(path)));
          else if (!add) {
            undos.get(path)?.();
            undos.delete(path);
          }
        }
        const fresh = router(...undos.keys());
        for (const path of paths) expect(found(tree, path), path).to.deep.equal(found(fresh, path));
        for (const undo of undos.values()) undo();
        for (const path of [...paths, ...all]) expect(tree.find(path.replace(/[{}*]/g, ''))).to.equal(null);
      }),
      { numRuns: 200 },
    );
  });

  it('prefers from the left: a literal, then a parameter, then the rest', () => {
    const tree = router('/a/b', '/a/{x}', '/{y}/b', '/{*rest}', '/a/{*more}');
    expect(found(tree, '/a/b')?.path).to.equal('/a/b');
    expect(found(tree, '/a/c')).to.deep.equal({ path: '/a/{x}', params: { x: 'c' } });
    expect(found(tree, '/c/b')).to.deep.equal({ path: '/{y}/b', params: { y: 'c' } });
    expect(found(tree, '/a/b/c')).to.deep.equal({ path: '/a/{*more}', params: { more: 'b/c' } });
    expect(found(tree, '/c/c')).to.deep.equal({ path: '/{*rest}', params: { rest: 'c/c' } });
  });

  it('goes back to the next way where a more special one leads nowhere', () => {
    const tree = router('/a/{x}/c', '/{y}/b/d');
    expect(found(tree, '/a/b/d')).to.deep.equal({ path: '/{y}/b/d', params: { y: 'a' } });
    expect(found(tree, '/a/b/c')).to.deep.equal({ path: '/a/{x}/c', params: { x: 'b' } });
    expect(found(tree, '/a/b/e')).to.equal(null);
  });

  it('decodes segments once, and keeps an encoded slash within its segment', () => {
    const tree = router('/files/{name}', '/a b/{x}'.replace(' ', '%20'));
    expect(found(tree, '/files/a%2Fb')).to.deep.equal({ path: '/files/{name}', params: { name: 'a/b' } });
    expect(found(tree, '/files/%252F')?.params).to.deep.equal({ name: '%2F' });
    expect(found(tree, '/files/za%C5%BC%20%2B+')?.params).to.deep.equal({ name: 'zaż ++' });
    expect(found(tree, '/fi%6Ces/x')?.params).to.deep.equal({ name: 'x' });
    expect(found(tree, '/a%20b/1')?.params).to.deep.equal({ x: '1' });
    expect(found(tree, '/files/a/b')).to.equal(null);
  });

  it('tells a trailing slash, a double slash and letters apart', () => {
    const tree = router('/a', '/b/', '/{x}/c');
    expect(found(tree, '/a/')).to.equal(null);
    expect(found(tree, '/b')).to.equal(null);
    expect(found(tree, '/b/')?.path).to.equal('/b/');
    expect(found(tree, '//a')).to.equal(null);
    expect(found(tree, '//c'), 'an empty segment is no parameter').to.equal(null);
    expect(found(tree, '/A')).to.equal(null);
    expect(found(router('/'), '/')?.path).to.equal('/');
  });

  it('refuses invalid percent-encoding', () => {
    const tree = router('/x/{y}');
    for (const path of ['/x/%', '/x/%zz', '/x/%C5', '/%E0%A4%A/y', '/nothing/like/this/%2']) {
      expect(
        codeOf(() => tree.find(path)),
        path,
      ).to.equal('INPUT_MALFORMED');
    }
  });

  it('takes what is no path for no address', () => {
    const tree = router('/', '/oo', '/{x}', '/{*rest}');
    for (const target of ['*', 'foo', '', 'example.com:443']) expect(tree.find(target), target).to.equal(null);
  });

  it('refuses malformed patterns, saying what is wrong', () => {
    const wrong = {
      'orders/{id}': /does not begin with/,
      '/orders?x=1': /has '\?'/,
      '/a b': /white space/,
      '/a#b': /'#'/,
      '/{id}x': /malformed segment/,
      '/x{id}': /malformed segment/,
      '/{}': /malformed segment/,
      '/{1a}': /malformed segment/,
      '/{*}': /malformed segment/,
      '/*': /malformed segment/,
      '/{a': /malformed segment/,
      '/{{a}}': /malformed segment/,
      '/{*rest}/more': /goes on/,
      '/{a}/{a}': /'a'/,
      '/{__proto__}': /__proto__/,
      '/%zz': /percent-encoding/,
      [`/${'a/'.repeat(40)}`]: /more than 32 segments/,
    };
    for (const [path, message] of Object.entries(wrong)) {
      const tree = new Router();
      expect(
        codeOf(() => tree.add(route(path))),
        path,
      ).to.equal('CHANNEL_INVALID');
      expect(() => tree.add(route(path))).to.throw(message);
    }
  });

  it('refuses a method that is taken, naming who has it, and changes nothing', () => {
    const tree = new Router();
    tree.add(route('/a/{x}', 'GET', 'PUT'));
    expect(() => tree.add(route('/a/{x}', 'POST', 'PUT'))).to.throw(/PUT \/a\/\{x\} is taken by '\/a\/\{x\}!'/);
    expect([...(tree.find('/a/1')?.place.routes.keys() ?? [])]).to.deep.equal(['GET', 'PUT']);
    tree.add(route('/a/{x}', 'POST'));
    expect([...(tree.find('/a/1')?.place.routes.keys() ?? [])]).to.deep.equal(['GET', 'PUT', 'POST']);
  });

  it('refuses one address with other parameter names, at its end and before the rest', () => {
    for (const [one, other] of [
      ['/a/{x}', '/a/{y}'],
      ['/a/{x}/b', '/a/{y}/b'],
      ['/files/{*one}', '/files/{*other}'],
      ['/{x}/{*rest}', '/{y}/{*rest}'],
    ] as const) {
      const tree = router(one);
      expect(
        codeOf(() => tree.add(route(other, 'POST'))),
        other,
      ).to.equal('CHANNEL_DUPLICATE');
    }
  });

  it('lets two addresses that share a beginning name its parameters differently', () => {
    const tree = router('/a/{x}', '/a/{y}/b');
    expect(found(tree, '/a/1')?.params).to.deep.equal({ x: '1' });
    expect(found(tree, '/a/1/b')?.params).to.deep.equal({ y: '1' });
  });

  it('has parameters named like what every object has', () => {
    const tree = router('/{constructor}/{toString}/{hasOwnProperty}');
    const params = tree.find('/a/b/c')?.params as Record<string, string>;
    expect(Object.getPrototypeOf(params)).to.equal(null);
    expect({ ...params }).to.deep.equal({ constructor: 'a', toString: 'b', hasOwnProperty: 'c' });
    expect(router('/{x}').find('/__proto__')?.params['x']).to.equal('__proto__');
    expect(Object.getPrototypeOf(router('/a').find('/a')?.params)).to.equal(null);
  });

  it('finds literals named like what every object has only where they are', () => {
    for (const name of ['__proto__', 'constructor', 'toString']) {
      expect(router('/a').find(`/${name}`), name).to.equal(null);
      expect(found(router(`/${name}`), `/${name}`)?.path).to.equal(`/${name}`);
    }
  });

  it('may undo twice without harm to who took the place', () => {
    const tree = new Router();
    const undo = tree.add(route('/a/{x}'));
    undo();
    tree.add(route('/a/{y}'));
    undo();
    expect(found(tree, '/a/1')).to.deep.equal({ path: '/a/{y}', params: { y: '1' } });
  });

  it('adds and removes 10,000 routes for what they are deep, not for how many there are', () => {
    const time = (n: number): number => {
      const tree = new Router();
      const startedAt = performance.now();
      const undos = Array.from({ length: n }, (_, i) => tree.add(route(`/area${i % 97}/thing${i}/{id}/part`)));
      for (let i = 0; i < n; i++) {
        expect(tree.find(`/area${i % 97}/thing${i}/7/part`)?.place.path).to.equal(`/area${i % 97}/thing${i}/{id}/part`);
      }
      for (const undo of undos) undo();
      return performance.now() - startedAt;
    };
    time(1000);
    expect(time(10_000), 'ms').to.be.lessThan(10_000);
  });

  it('looks at no place twice, however the patterns are nested', () => {
    const tree = new Router();
    const DEPTH = 12;
    for (let n = 0; n < 2 ** DEPTH; n++) {
      const segments = Array.from({ length: DEPTH }, (_, i) => ((n >> i) & 1 ? `{p${i}}` : 'a'));
      tree.add(route(`/${segments.join('/')}/end`));
    }
    const startedAt = performance.now();
    for (let i = 0; i < 20; i++) expect(tree.find(`/${'a/'.repeat(DEPTH)}other`)).to.equal(null);
    // 8,191 nodes a look. Twice at each of 12 levels would be 4,096 times as much.
    expect(performance.now() - startedAt, 'ms for 20 looks').to.be.lessThan(5000);
  });

  it('answers hostile paths in bounded time', () => {
    const tree = router('/{a}/x', '/a/{b}/c', '/a/{b}/{c}/d', '/r/{*rest}', '/{a}/{b}/{c}/{d}/{e}/{f}');
    const many = 100_000;
    const hostile = [
      '/'.repeat(many),
      `/a${'/a'.repeat(many)}`,
      `/r${'/%61'.repeat(many)}`,
      `/${'%2F'.repeat(many)}`,
      `/${'a'.repeat(many)}`,
    ];
    for (const path of hostile) {
      const startedAt = performance.now();
      found(tree, path);
      expect(performance.now() - startedAt, `ms for ${path.slice(0, 10)}...`).to.be.lessThan(5000);
    }
    expect(found(tree, `/r${'/'.repeat(many)}`)?.params['rest']).to.have.length(many - 1);
  });
});
