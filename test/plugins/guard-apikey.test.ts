import { expect } from 'chai';
import { Call, type GantryError, type Guard, type Identity } from '../../core/api.ts';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import { wrapSecrets } from '../../core/secret.ts';
import plugin from '../../plugins/guard-apikey/index.ts';
import { testGuard } from '../kit/guard.ts';

const ID = 'guard.apikey';
const SHOP = { name: 'shop', key: 'k-0123456789abcdef', roles: ['orders'] };
const DESK = { name: 'desk', key: 'another:key/of+7=' };

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
      { definition: { keys: [{ name: 'shop' }] }, path: 'keys.0.key' },
      { definition: { keys: [SHOP, { ...DESK, key: '7-chars' }] }, path: 'keys.1.key' },
      { definition: { keys: [{ ...SHOP, name: '' }] }, path: 'keys.0.name' },
      { definition: { keys: [{ ...SHOP, roles: [1] }] }, path: 'keys.0.roles.0' },
      { definition: { keys: [{ ...SHOP, role: 'orders' }] }, path: 'keys.0.role' },
      { definition: { keys: [SHOP], header: 'two words' }, path: 'header' },
      { definition: { keys: [SHOP], header: '' }, path: 'header' },
      { definition: { keys: [SHOP], header: 'x"y' }, path: 'header' },
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
        ['security.keys.2.key', 'is also the key of security.keys.0'],
      ]);
      expect(`${error.stack} ${JSON.stringify(error)}`).to.not.include(SHOP.key);
    });

    it('is refused where a key cannot stand in a header, and does not tell it', () => {
      for (const key of ['hush hush hush', 'hushhushhush\n', 'hushhushhush\u00fc', '\thushhushhush']) {
        const error = invalid({ keys: [DESK, { ...SHOP, key }] });
        expect(error.problems?.map((p) => p.path)).to.deep.equal(['security.keys.1.key']);
        expect(`${error.stack} ${JSON.stringify(error)}`).to.not.include('hush');
      }
    });

    it('is refused with everything that is wrong at once', () => {
      const error = invalid({ keys: [SHOP, { ...SHOP, key: 'with a space' }, SHOP] });
      expect(error.problems?.map((p) => p.path)).to.deep.equal(['security.keys.1.key', 'security.keys.2.key']);
    });
  });
});

function sent(headers: Record<string, string | readonly string[]>): Call {
  return new Call('test', { headers });
}

function compile(definition: object): (call: Call) => Identity {
  const kernel = new Kernel({ logs: new Logs({ level: 'silent' }) }).create([{ id: ID, plugin, config: {} }]);
  const guard = kernel.cradle.guards.get('apikey') as Guard;
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
