import { expect } from 'chai';
import fc from 'fast-check';
import { Call, type GantryError, type Guard, type Identity } from '../../core/api.ts';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import { wrapSecrets } from '../../core/secret.ts';
import plugin from '../../plugins/guard-basic/index.ts';
import { testGuard } from '../kit/guard.ts';

const ID = 'guard.basic';
const ANN = { username: 'ann', password: 'open sesame', roles: ['billing', 'audit'] };
const BOB = { username: 'b@b', password: 'p:w:' };

const basic = (userPass: string | Uint8Array) => ({
  authorization: `Basic ${Buffer.from(userPass as string).toString('base64')}`,
});

describe(ID, () => {
  testGuard({
    plugin,
    definition: { users: [ANN, BOB] },
    right: basic('ann:open sesame'),
    identity: { name: 'ann', roles: ['billing', 'audit'] },
    wrong: [
      basic('ann:open sesam'),
      basic('ann:open sesame '),
      basic('Ann:open sesame'),
      basic('nobody:open sesame'),
      basic('ann:p:w:'),
      basic('ann:'),
      basic(':open sesame'),
      basic('ann'),
      basic(''),
      { authorization: 'Basic' },
      { authorization: 'Basic ' },
      { authorization: 'Basic ann:open sesame' },
      { authorization: `${basic('ann:open sesame').authorization}=` },
      { authorization: `Basic x ${Buffer.from('ann:open sesame').toString('base64')}` },
      { authorization: `Basic\t${Buffer.from('ann:open sesame').toString('base64')}` },
      { authorization: Buffer.from('ann:open sesame').toString('base64') },
      { authorization: basic('ann:open sesame').authorization.replace('Basic', 'Bearer') },
      { authorization: [basic('ann:open sesame').authorization] },
      { authorization: [basic('ann:open sesame').authorization, basic('ann:open sesame').authorization] },
    ],
    refused: [
      { definition: {}, path: 'users' },
      { definition: { users: [] }, path: 'users' },
      { definition: { users: [{ username: 'ann' }] }, path: 'users.0.password' },
      { definition: { users: [{ ...ANN, password: '' }] }, path: 'users.0.password' },
      { definition: { users: [ANN, { ...BOB, username: '' }] }, path: 'users.1.username' },
      { definition: { users: [{ ...ANN, username: 'a:b' }] }, path: 'users.0.username' },
      { definition: { users: [{ ...ANN, username: 'a\nb' }] }, path: 'users.0.username' },
      { definition: { users: [{ ...ANN, roles: 'billing' }] }, path: 'users.0.roles' },
      { definition: { users: [{ ...ANN, role: 'billing' }] }, path: 'users.0.role' },
      { definition: { users: [ANN], realm: 'two\r\nlines' }, path: 'realm' },
    ],
  });

  describe('credentials', () => {
    it('may have colons in the password', () => {
      expect(compile({ users: [ANN, BOB] })(new Call('test', { headers: basic('b@b:p:w:') })).name).to.equal('b@b');
    });

    it('have a scheme of any case, and any number of spaces after it', () => {
      const check = compile({ users: [ANN] });
      const token = Buffer.from('ann:open sesame').toString('base64');
      for (const authorization of [`basic ${token}`, `BASIC ${token}`, `bAsIc    ${token}`, `Basic ${token} `]) {
        expect(check(new Call('test', { headers: { authorization } })).name, authorization).to.equal('ann');
      }
    });

    it('are UTF-8, whichever way a letter is composed', () => {
      const check = compile({ users: [{ username: 'J\u00fcrgen', password: 'stra\u00dfe \u{1f511}' }] });
      for (const name of ['J\u00fcrgen', 'Ju\u0308rgen']) {
        const call = new Call('test', { headers: basic(`${name}:stra\u00dfe \u{1f511}`) });
        expect(check(call).name).to.equal('J\u00fcrgen');
      }
      const latin1 = Buffer.from('J\u00fcrgen:stra\u00dfe', 'latin1');
      expect(refused(check, basic(latin1)).code).to.equal('AUTH_REJECTED');
    });

    it('that are no UTF-8 are not taken for the character that marks them', () => {
      const check = compile({ users: [{ username: 'ann', password: 'a\ufffdb' }] });
      expect(check(new Call('test', { headers: basic('ann:a\ufffdb') })).name).to.equal('ann');
      const broken = Buffer.concat([Buffer.from('ann:a'), Buffer.from([0xff]), Buffer.from('b')]);
      expect(refused(check, basic(broken)).code).to.equal('AUTH_REJECTED');
    });

    it('let in the user whose they are, and nobody else, for any users', () => {
      const text = fc
        .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
        .map((s) => s.replaceAll(/\p{Cc}/gu, '').normalize('NFC'))
        .filter((s) => s !== '');
      const user = fc.record({ username: text.filter((s) => !s.includes(':')), password: text });
      const users = fc.uniqueArray(user, { selector: (u) => u.username, minLength: 2, maxLength: 5 });
      fc.assert(
        fc.property(users, (all) => {
          const check = compile({ users: all });
          for (const one of all) {
            for (const { username, password } of all) {
              const headers = basic(`${username}:${one.password}`);
              if (password === one.password) expect(check(new Call('test', { headers })).name).to.equal(username);
              else expect(refused(check, headers).code).to.equal('AUTH_REJECTED');
            }
          }
        }),
      );
    });
  });

  describe('challenge', () => {
    const challenge = (realm?: string) =>
      refused(compile(realm === undefined ? { users: [ANN] } : { users: [ANN], realm }), {}).challenge;

    it('names the realm and UTF-8', () => {
      expect(challenge()).to.equal('Basic realm="gantry", charset="UTF-8"');
      expect(challenge('Back office')).to.equal('Basic realm="Back office", charset="UTF-8"');
    });

    it('quotes the realm', () => {
      expect(challenge('a "b" \\ c')).to.equal('Basic realm="a \\"b\\" \\\\ c", charset="UTF-8"');
    });
  });

  describe('definition', () => {
    it('is refused where a name is there twice, composed in another way too', () => {
      const twice = (...users: object[]) => problems(() => compile({ users }));
      const again = { ...BOB, username: 'ann' };
      expect(twice(ANN, BOB, again)).to.deep.equal([
        {
          path: 'security.users.2.username',
          message: 'is also the name of security.users.0',
          expected: 'a name of its own',
          got: 'ann',
          hint: 'Remove one of the two.',
        },
      ]);
      expect(twice({ ...ANN, username: '\u00fc' }, { ...ANN, username: 'u\u0308' })).to.have.lengthOf(1);
    });

    it('is refused where a password cannot be sent, and does not tell it', () => {
      const told = problems(() => compile({ users: [{ ...ANN, password: 'hush hush\n' }] }));
      expect(told.map((p) => p.path)).to.deep.equal(['security.users.0.password']);
      expect(JSON.stringify(told)).to.not.include('hush');
    });
  });

  it('shares one identity among the calls of a user', () => {
    const check = compile({ users: [ANN] });
    const headers = basic('ann:open sesame');
    const identity = check(new Call('test', { headers }));
    expect(check(new Call('test', { headers }))).to.equal(identity);
    expect(Object.isFrozen(identity) && Object.isFrozen(identity.roles)).to.equal(true);
  });
});

function compile(definition: object): (call: Call) => Identity {
  const kernel = new Kernel({ logs: new Logs({ level: 'silent' }) }).create([{ id: ID, plugin, config: {} }]);
  const guard = kernel.cradle.guards.get('basic') as Guard;
  const wrapped = wrapSecrets(guard.definition, definition) as Record<string, unknown>;
  return guard.compile(wrapped) as (call: Call) => Identity;
}

function refused(check: (call: Call) => Identity, headers: Record<string, string>): GantryError {
  try {
    check(new Call('test', { headers }));
  } catch (error) {
    return error as GantryError;
  }
  throw new Error('was let in');
}

function problems(run: () => unknown): { path: string }[] {
  try {
    run();
  } catch (error) {
    expect(error).to.include({ code: 'CHANNEL_INVALID', kind: 'invalid' });
    return [...((error as GantryError).problems ?? [])];
  }
  throw new Error('was taken');
}
