import { expect } from 'chai';
import fc from 'fast-check';
import { keyOf, pointerOf, stepsOf } from '../../core/path.ts';
import { pointed } from '../../core/records/invalid.ts';
import { compileCheck, compileConfig } from '../../core/schema/check.ts';

/** Keys that a path in one form or the other could be taken apart at. */
const key = fc.oneof(
  fc.constantFrom(
    '',
    '.',
    '/',
    '~',
    '~0',
    '~1',
    'a.b',
    'a/b',
    'x~y',
    '"',
    '\\',
    '[0]',
    ']',
    ' ',
    '0',
    'ż',
    '𝄞',
    'a["b"].c',
  ),
  fc.string({ unit: 'binary' }),
);
const keys = fc.array(key, { minLength: 1, maxLength: 5 });

describe('a path', () => {
  it('is read back from either form, whatever its keys are', () => {
    fc.assert(
      fc.property(keys, (steps) => {
        expect(stepsOf(pointerOf(steps))).to.deep.equal(steps);
        expect(stepsOf(keyOf(steps))).to.deep.equal(steps);
      }),
    );
    expect([pointerOf([]), keyOf([]), stepsOf('')]).to.deep.equal(['', '', []]);
  });
  it('looks as people expect it', () => {
    expect(keyOf(['settings', 'headers', 'x-a', 0])).to.equal('.settings.headers.x-a.0');
    expect(keyOf(['headers', 'a.b', 'c/d'])).to.equal('.headers["a.b"]["c/d"]');
    expect(pointerOf(['headers', 'a.b', 'c/d', 'e~f'])).to.equal('/headers/a.b/c~1d/e~0f');
  });
  it('loses nothing of a text but the separators', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '.', '[', ']', '"', '0') }), (text) => {
        if (text.includes('["') || /\[\d+\]/.test(text)) return;
        expect(stepsOf(text).join('')).to.equal(text.replaceAll('.', ''));
      }),
    );
  });
  it('is read as plugins write it', () => {
    expect(stepsOf('users.0.password')).to.deep.equal(['users', '0', 'password']);
    expect(stepsOf('.options.url')).to.deep.equal(['options', 'url']);
    expect(stepsOf('channels[2].settings')).to.deep.equal(['channels', '2', 'settings']);
    expect(stepsOf('settings.headers.a[b]c')).to.deep.equal(['settings', 'headers', 'a[b]c']);
    expect(stepsOf('x["open')).to.deep.equal(['x["open']);
  });
});

describe('where a value is wrong', () => {
  /** A value with a number at that place, and a schema that wants a text there. */
  function wrongAt(steps: readonly string[]): { schema: object; value: unknown } {
    let schema: object = { type: 'string' };
    let value: unknown = 5;
    for (const step of [...steps].reverse()) {
      schema = { type: 'object', properties: Object.fromEntries([[step, schema]]), additionalProperties: false };
      value = Object.fromEntries([[step, value]]);
    }
    return { schema, value };
  }
  // ajv itself knows no such property.
  const real = keys.filter((steps) => !steps.includes('__proto__'));

  it('is a JSON pointer for a call, and a key that can be read back for a config and a record', () => {
    fc.assert(
      fc.property(real, (steps) => {
        const { schema, value } = wrongAt(steps);
        const [called] = compileCheck(schema, 'a call')(value);
        expect(called?.path).to.equal(pointerOf(steps));
        const [configured] = compileConfig(schema, 'a config')(value, '.settings');
        expect(stepsOf(configured?.path ?? '')).to.deep.equal(['settings', ...steps]);
        expect(configured === undefined ? null : pointed(configured).path).to.equal(`/settings${pointerOf(steps)}`);
      }),
    );
  });
  it('also where a key is not known, or missing', () => {
    fc.assert(
      fc.property(real, (steps) => {
        const last = steps.at(-1) as string;
        const closed = { type: 'object', properties: {}, additionalProperties: false };
        expect(compileCheck(closed, 'a')({ [last]: 1 })[0]?.path).to.equal(pointerOf([last]));
        // ajv takes an empty key, and what every object inherits, for present.
        if (last === '' || last in {}) return;
        const needy = { type: 'object', required: [last] };
        expect(compileCheck(needy, 'a')({})[0]?.path).to.equal(pointerOf([last]));
      }),
    );
  });
});
