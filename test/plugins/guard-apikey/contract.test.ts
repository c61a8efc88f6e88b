import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { Call, type GantryError, type Identity } from '../../../core/api.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Guard } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import { wrapSecrets } from '../../../core/schema/secret.ts';
import plugin from '../../../plugins/guard-apikey/index.ts';
import { testGuard } from '../../kit/guard.ts';

const ID = 'guard.apikey';
const SHOP = { name: 'shop', key: 'k-0123456789abcdef', roles: ['orders'] };
const DESK = { name: 'desk', key: 'another:key/of+7=' };
const PEPPER = Buffer.alloc(32, 7).toString('base64url');
const hashOf = (key: string, pepper = PEPPER) =>
  createHmac('sha256', Buffer.from(pepper, 'base64url')).update(key).digest('base64url');

describe(ID, () => {
  testGuard({
    plugin,
    definition: { keys: [SHOP, DESK] },
    right: { 'x-api-key': SHOP.key },
    identity: { name: 'shop', roles: ['orders'] },
    wrong: [
      { 'x-api-key': 'k-0123456789abcdee' },
      { 'x-api-key': 'k-0123456789abcde' },
      { 'x-api-key': 'k-0123456789abcdef0' },
      { 'x-api-key': SHOP.key.toUpperCase() },
      { 'x-api-key': ` ${SHOP.key}` },
      { 'x-api-key': `${SHOP.key}\0` },
      { 'x-api-key': ' ' },
      { 'x-api-key': `${SHOP.key}, ${SHOP.key}` },
      { 'x-api-key': [SHOP.key] },
      { 'x-api-key': [SHOP.key, SHOP.key] },
      { 'x-api-key': [SHOP.key, DESK.key] },
      { 'x-api-key': 'x'.repeat(100_000) },
    ],
    refused: [
      { definition: {}, path: 'keys' },
      { definition: { keys: [] }, path: 'keys' },
      { definition: { keys: [{ name: 'shop', key: '' }] }, path: 'keys.0.key' },
      { definition: { keys: [{ name: 'shop', keyHash: '' }] }, path: 'keys.0.keyHash' },
      { definition: { keys: [SHOP], pepper: '' }, path: 'pepper' },
      { definition: { keys: [SHOP, { ...DESK, key: '7-chars' }] }, path: 'keys.1.key' },
      { definition: { keys: [{ ...SHOP, name: '' }] }, path: 'keys.0.name' },
      { definition: { keys: [{ ...SHOP, roles: [1] }] }, path: 'keys.0.roles.0' },
      { definition: { keys: [{ ...SHOP, role: 'orders' }] }, path: 'keys.0.role' },
      { definition: { keys: [SHOP], header: 'two words' }, path: 'header' },
      { definition: { keys: [SHOP], header: '' }, path: 'header' },
      { definition: { keys: [SHOP], header: 'x"y' }, path: 'header' },
    ],
    unkept: [
      { definition: { keys: [SHOP, { name: 'desk' }] }, path: 'keys.1.key' },
      { definition: { keys: [{ ...SHOP, keyHash: hashOf(SHOP.key) }], pepper: PEPPER }, path: 'keys.0.keyHash' },
      { definition: { keys: [DESK, { ...SHOP, key: 'hush hush' }] }, path: 'keys.1.key' },
      { definition: { keys: [SHOP, DESK, { ...SHOP, name: 'thief' }] }, path: 'keys.2.key' },
      { definition: { keys: [SHOP], pepper: PEPPER.slice(1) }, path: 'pepper' },
      { definition: { keys: [SHOP], pepper: `${PEPPER.slice(0, -1)}B` }, path: 'pepper' },
      { definition: { keys: [{ name: 'shop', keyHash: SHOP.key }], pepper: PEPPER }, path: 'keys.0.keyHash' },
      { definition: { keys: [{ name: 'shop', keyHash: hashOf('') }], pepper: PEPPER }, path: 'keys.0.keyHash' },
      {
        definition: { keys: [SHOP, { name: 'thief', keyHash: hashOf(SHOP.key) }], pepper: PEPPER },
        path: 'keys.1.keyHash',
      },
      {
        definition: { keys: [{ name: 'thief', keyHash: hashOf(SHOP.key) }, SHOP], pepper: PEPPER },
        path: 'keys.1.key',
      },
    ],
  });

  it('knows each caller by the key, with roles where there are some', () => {
    const check = compile({ keys: [SHOP, DESK] });
    expect(check(sent({ 'x-api-key': SHOP.key }))).to.deep.equal({ name: 'shop', roles: ['orders'] });
    expect(check(sent({ 'x-api-key': DESK.key }))).to.deep.equal({ name: 'desk', roles: [] });
  });

  it('takes an old and a new key of one caller, while one takes the place of the other', () => {
    const check = compile({ keys: [SHOP, { ...SHOP, key: 'the-new-key-of-the-shop' }] });
    for (const key of [SHOP.key, 'the-new-key-of-the-shop']) {
      expect(check(sent({ 'x-api-key': key })).name).to.equal('shop');
    }
  });

  it('shares one frozen identity among the calls of a key', () => {
    const check = compile({ keys: [SHOP] });
    const identity = check(sent({ 'x-api-key': SHOP.key }));
    expect(check(sent({ 'x-api-key': SHOP.key }))).to.equal(identity);
    expect(Object.isFrozen(identity) && Object.isFrozen(identity.roles)).to.equal(true);
  });

  describe('header', () => {
    it('is another one where the definition says so, in any case', () => {
      const check = compile({ keys: [SHOP], header: 'X-Shop-Key' });
      expect(check(sent({ 'x-shop-key': SHOP.key })).name).to.equal('shop');
      expect(refused(check, { 'x-api-key': SHOP.key })).to.include({
        code: 'AUTH_MISSING',
        challenge: 'ApiKey header="x-shop-key"',
      });
    });

    it('is asked for by name', () => {
      const check = compile({ keys: [SHOP] });
      for (const headers of [{}, { 'x-api-key': '' }, { 'x-api-key': [] }]) {
        expect(refused(check, headers)).to.include({ code: 'AUTH_MISSING', challenge: 'ApiKey header="x-api-key"' });
      }
      expect(refused(check, { 'x-api-key': 'wrong' })).to.include({
        code: 'AUTH_REJECTED',
        challenge: 'ApiKey header="x-api-key"',
      });
    });

    it('is none that every object has', () => {
      for (const header of ['constructor', '__proto__', 'hasOwnProperty']) {
        const check = compile({ keys: [SHOP], header });
        expect(refused(check, {}).kind, header).to.equal('unauthorized');
      }
    });
  });

  describe('definition', () => {
    it('is refused where two callers have one key, and does not tell it', () => {
      const error = invalid({ keys: [SHOP, DESK, { name: 'thief', key: SHOP.key }] });
      expect(error.problems?.map((p) => [p.path, p.message])).to.deep.equal([
        ['keys.2.key', 'is also the key of keys.0'],
      ]);
      expect(`${error.stack} ${JSON.stringify(error)}`).to.not.include(SHOP.key);
    });

    it('is refused where a key cannot stand in a header, and does not tell it', () => {
      for (const key of ['hush hush hush', 'hushhushhush\n', 'hushhushhush\u00fc', '\thushhushhush']) {
        const error = invalid({ keys: [DESK, { ...SHOP, key }] });
        expect(error.problems?.map((p) => p.path)).to.deep.equal(['keys.1.key']);
        expect(`${error.stack} ${JSON.stringify(error)}`).to.not.include('hush');
      }
    });

    it('is refused with everything that is wrong at once', () => {
      const error = invalid({ keys: [SHOP, { ...SHOP, key: 'with a space' }, SHOP] });
      expect(error.problems?.map((p) => p.path)).to.deep.equal(['keys.1.key', 'keys.2.key']);
    });
  });

  describe('hashed keys', () => {
    const keep = (definition: object, earlier: object | null = null) =>
      guardOf().keep?.(definition as Definition, earlier as Definition | null) as Promise<Kept>;

    it('are HMAC-SHA-256 under a pepper of 32 random bytes, which is another one for each definition', async () => {
      const kept = await keep({ header: 'x-key', keys: [SHOP, DESK] });
      expect(Buffer.from(kept.pepper, 'base64url')).to.have.lengthOf(32);
      expect(kept).to.deep.equal({
        header: 'x-key',
        pepper: kept.pepper,
        keys: [
          { name: 'shop', keyHash: hashOf(SHOP.key, kept.pepper), roles: ['orders'] },
          { name: 'desk', keyHash: hashOf(DESK.key, kept.pepper) },
        ],
      });
      expect((await keep({ keys: [SHOP] })).pepper).to.not.equal(kept.pepper);
    });

    it('let in who has the key, the first time and later, with one frozen identity', async () => {
      const check = compile(await keep({ keys: [SHOP, DESK] }));
      const identity = check(sent({ 'x-api-key': SHOP.key }));
      expect(identity).to.deep.equal({ name: 'shop', roles: ['orders'] });
      expect(check(sent({ 'x-api-key': SHOP.key }))).to.equal(identity);
      expect(check(sent({ 'x-api-key': DESK.key })).name).to.equal('desk');
      expect(Object.isFrozen(identity) && Object.isFrozen(identity.roles)).to.equal(true);
    });

    it('are let in for any keys by these, and by no others', async () => {
      const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
      const key = fc.string({ unit: visible, minLength: 8, maxLength: 30 });
      await fc.assert(
        fc.asyncProperty(fc.uniqueArray(key, { minLength: 2, maxLength: 9 }), async ([wrong, ...all]) => {
          const check = compile(await keep({ keys: all.map((one, i) => ({ name: `caller ${i}`, key: one })) }));
          for (let round = 0; round < 2; round++) {
            for (const [i, one] of all.entries()) {
              expect(check(sent({ 'x-api-key': one })).name).to.equal(`caller ${i}`);
            }
            expect(refused(check, { 'x-api-key': wrong as string }).code).to.equal('AUTH_REJECTED');
          }
        }),
        { numRuns: 30 },
      );
    });

    it('stand beside keys in the clear', async () => {
      const { pepper, keys } = await keep({ keys: [SHOP] });
      const check = compile({ pepper, keys: [...keys, DESK] });
      for (const { key, name } of [SHOP, DESK]) expect(check(sent({ 'x-api-key': key })).name).to.equal(name);
      expect(refused(check, { 'x-api-key': 'wrong-wrong' }).code).to.equal('AUTH_REJECTED');
    });

    it('may be two of one caller, and the old one goes without the new one', async () => {
      const first = await keep({ keys: [SHOP] });
      const both = await keep({ keys: [first.keys[0], { ...SHOP, key: 'the-new-key-of-the-shop' }] }, first);
      expect(both.keys[0]).to.deep.equal(first.keys[0]);
      const check = compile(both);
      for (const key of [SHOP.key, 'the-new-key-of-the-shop']) {
        expect(check(sent({ 'x-api-key': key })).name).to.equal('shop');
      }
      const after = await keep({ keys: [both.keys[1]] }, both);
      const strict = compile(after);
      expect(strict(sent({ 'x-api-key': 'the-new-key-of-the-shop' })).name).to.equal('shop');
      expect(refused(strict, { 'x-api-key': SHOP.key }).code).to.equal('AUTH_REJECTED');
    });

    it('are made with the pepper that there is, given or kept', async () => {
      expect((await keep({ keys: [SHOP], pepper: PEPPER })).keys[0]?.keyHash).to.equal(hashOf(SHOP.key));
      const { pepper } = await keep({ keys: [SHOP] }, { keys: [], pepper: PEPPER });
      expect(pepper).to.equal(PEPPER);
    });

    it('are not kept under a pepper that is not theirs', async () => {
      const kept = await keep({ keys: [SHOP, DESK] });
      const error = await keep({ ...kept, pepper: PEPPER }, kept).catch((thrown: unknown) => thrown as GantryError);
      expect(error).to.include({ code: 'RECORD_INVALID' });
      expect((error as GantryError).problems?.map((p) => p.path)).to.deep.equal(['keys.0.keyHash', 'keys.1.keyHash']);
      const renewed = await keep({ pepper: PEPPER, keys: [SHOP] }, kept);
      expect(renewed.keys[0]?.keyHash).to.equal(hashOf(SHOP.key));
    });

    it('are let in by no hash and no pepper', async () => {
      const kept = await keep({ keys: [SHOP] });
      const check = compile(kept);
      for (const given of [kept.pepper, kept.keys[0]?.keyHash as string]) {
        expect(refused(check, { 'x-api-key': given }).code).to.equal('AUTH_REJECTED');
      }
    });

    it('are refused where what is kept cannot be checked, and not told', () => {
      const cases: [object, string[]][] = [
        [{ keys: [{ name: 'shop', keyHash: hashOf(SHOP.key) }] }, ['keys.0.keyHash']],
        [{ keys: [SHOP, { name: 'desk' }] }, ['keys.1.key']],
        [{ keys: [{ name: 'shop', keyHash: 'hushhush' }], pepper: PEPPER }, ['keys.0.keyHash']],
        [{ keys: [{ name: 'shop', keyHash: hashOf('') }], pepper: PEPPER }, ['keys.0.keyHash']],
        [{ keys: [SHOP], pepper: 'hushhush' }, ['pepper']],
        [
          {
            keys: [SHOP, { name: 'a', keyHash: hashOf(SHOP.key) }, { name: 'b', keyHash: hashOf(SHOP.key) }],
            pepper: PEPPER,
          },
          ['keys.1.keyHash', 'keys.2.keyHash'],
        ],
      ];
      for (const [definition, paths] of cases) {
        const error = invalid(definition);
        expect(error.problems?.map((p) => p.path)).to.deep.equal(paths);
        const told = `${error.stack} ${JSON.stringify(error)}`;
        for (const secret of ['hushhush', PEPPER, SHOP.key, hashOf(SHOP.key)]) expect(told).to.not.include(secret);
      }
    });
  });
});

type Definition = Readonly<Record<string, unknown>>;
type Kept = { readonly pepper: string; readonly keys: readonly { readonly name: string; readonly keyHash: string }[] };

function sent(headers: Record<string, string | readonly string[]>): Call {
  return new Call('test', { headers });
}

function guardOf(): Guard {
  const kernel = new Process({ logs: new Logs({ level: 'silent' }) }).create([{ id: ID, plugin, config: {} }]);
  return kernel.cradle.guards.get('apikey') as Guard;
}

function compile(definition: object): (call: Call) => Identity {
  const guard = guardOf();
  const wrapped = wrapSecrets(guard.definition, definition) as Record<string, unknown>;
  return guard.compile(wrapped) as (call: Call) => Identity;
}

function refused(check: (call: Call) => Identity, headers: Record<string, string | readonly string[]>): GantryError {
  try {
    check(sent(headers));
  } catch (error) {
    return error as GantryError;
  }
  throw new Error('was let in');
}

function invalid(definition: object): GantryError {
  try {
    compile(definition);
  } catch (error) {
    expect(error).to.include({ code: 'CHANNEL_INVALID', kind: 'invalid' });
    return error as GantryError;
  }
  throw new Error('was taken');
}
