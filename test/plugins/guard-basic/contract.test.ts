import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  Call,
  definePlugin,
  type GantryError,
  type Identity,
  isGantryError,
  type Plugin,
  Type,
} from '../../../core/api.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Guard } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import { wrapSecrets } from '../../../core/schema/secret.ts';
import plugin from '../../../plugins/guard-basic/index.ts';
import argon2 from '../../../plugins/password-argon2/index.ts';
import { testGuard } from '../../kit/guard.ts';

const ID = 'guard.basic';
const ANN = { username: 'ann', password: 'open sesame', roles: ['billing', 'audit'] };
const BOB = { username: 'b@b', password: 'p:w:' };
/** A check of a tenth of a millisecond. */
const CHEAP = { memoryKiB: 64, iterations: 1 };

const basic = (userPass: string | Uint8Array) => ({
  authorization: `Basic ${Buffer.from(userPass as string).toString('base64')}`,
});

describe(ID, () => {
  testGuard({
    plugin,
    beside: [{ plugin: argon2, config: CHEAP }],
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
      { definition: { users: [{ ...ANN, password: '' }] }, path: 'users.0.password' },
      { definition: { users: [{ username: 'ann', passwordHash: '' }] }, path: 'users.0.passwordHash' },
      { definition: { users: [ANN, { ...BOB, username: '' }] }, path: 'users.1.username' },
      { definition: { users: [{ ...ANN, username: 'a:b' }] }, path: 'users.0.username' },
      { definition: { users: [{ ...ANN, username: 'a\nb' }] }, path: 'users.0.username' },
      { definition: { users: [{ ...ANN, roles: 'billing' }] }, path: 'users.0.roles' },
      { definition: { users: [{ ...ANN, role: 'billing' }] }, path: 'users.0.role' },
      { definition: { users: [ANN], realm: 'two\r\nlines' }, path: 'realm' },
    ],
    unkept: [
      { definition: { users: [BOB, { username: 'ann' }] }, path: 'users.1.password' },
      { definition: { users: [{ ...ANN, passwordHash: '$argon2id$v=19$...' }] }, path: 'users.0.passwordHash' },
      { definition: { users: [ANN, BOB, { ...BOB, username: 'ann' }] }, path: 'users.2.username' },
      { definition: { users: [{ ...ANN, password: 'hush hush\n' }] }, path: 'users.0.password' },
      { definition: { users: [{ ...ANN, password: 'hush '.repeat(201) }] }, path: 'users.0.password' },
      { definition: { users: [BOB, { username: 'ann', passwordHash: 'open sesame' }] }, path: 'users.1.passwordHash' },
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
          path: 'users.2.username',
          message: 'is also the name of users.0',
          expected: 'a name of its own',
          got: 'ann',
          hint: 'Remove one of the two.',
        },
      ]);
      expect(twice({ ...ANN, username: '\u00fc' }, { ...ANN, username: 'u\u0308' })).to.have.lengthOf(1);
    });

    it('is refused where a user has no password, or two', () => {
      expect(problems(() => compile({ users: [ANN, { username: 'eve' }] }))).to.deep.equal([
        {
          path: 'users.1.password',
          message: 'is required',
          expected: 'a password',
          got: 'nothing',
          hint: 'Give the user a password.',
        },
      ]);
      const [both] = problems(() => compile({ users: [{ ...ANN, passwordHash: 'hush hush' }] }));
      expect(both?.path).to.equal('users.0.passwordHash');
      expect(JSON.stringify(both)).to.not.include('hush').and.not.include('sesame');
    });

    it('is refused where it has hashes, and nothing checks them', () => {
      const told = problems(() => compile({ users: [ANN, { username: 'eve', passwordHash: 'hush hush' }] }));
      expect(told).to.deep.equal([
        {
          path: 'users.1.passwordHash',
          message: 'needs a plugin that checks hashes, and none is loaded',
          hint: 'Add password.argon2 to "plugins" in the config.',
        },
      ]);
    });

    it('is refused where a password cannot be sent, and does not tell it', () => {
      const told = problems(() => compile({ users: [{ ...ANN, password: 'hush hush\n' }] }));
      expect(told.map((p) => p.path)).to.deep.equal(['users.0.password']);
      expect(JSON.stringify(told)).to.not.include('hush');
    });
  });

  describe('hashed users', () => {
    it('are let in at once after the first call, and without a promise', async () => {
      const check = checkOf(await hashed({ users: [ANN, BOB] }));
      const call = new Call('test', { headers: basic('ann:open sesame') });
      expect(check(call)).to.be.instanceOf(Promise);
      await check(call);
      expect(check(call)).to.deep.equal({ name: 'ann', roles: ['billing', 'audit'] });
    });

    it('have names and passwords of any letters, whichever way they are composed', async () => {
      const check = checkOf(await hashed({ users: [{ username: 'J\u00fcrgen', password: 'stra\u00dfe u\u0308' }] }));
      for (const userPass of ['J\u00fcrgen:stra\u00dfe \u00fc', 'Ju\u0308rgen:stra\u00dfe u\u0308']) {
        expect((await check(new Call('test', { headers: basic(userPass) }))).name).to.equal('J\u00fcrgen');
      }
      const error = await refusedBy(check, 'J\u00fcrgen:stra\u00dfe u');
      expect(error.code).to.equal('AUTH_REJECTED');
    });

    it('stand beside users whose password is in the clear', async () => {
      const { users: kept } = await hashed({ users: [ANN] });
      const check = checkOf({ users: [...(kept as object[]), BOB] });
      expect(check(new Call('test', { headers: basic('b@b:p:w:') }))).to.include({ name: 'b@b' });
      expect((await check(new Call('test', { headers: basic('ann:open sesame') }))).name).to.equal('ann');
      for (const wrong of ['ann:p:w:', 'b@b:open sesame', 'b@b:', 'eve:open sesame', 'ann']) {
        expect((await refusedBy(check, wrong)).code, wrong).to.equal('AUTH_REJECTED');
      }
    });

    it('are not told from names that nobody has, nor from those in the clear: each costs one check', async () => {
      const { users: kept } = await hashed({ users: [ANN] });
      const { passwords, checked } = counting();
      const check = checkOf({ users: [...(kept as object[]), BOB] }, passwords);
      for (const name of ['ann', 'b@b', 'eve', '']) {
        checked.length = 0;
        expect((await refusedBy(check, `${name}:wrong`)).code).to.equal('AUTH_REJECTED');
        expect(checked, `checks for '${name}'`).to.have.lengthOf(1);
      }
    });

    it('are not told from names that nobody has by guessing one password for two of them at once', async () => {
      const users = [ANN, { ...ANN, username: 'amy' }];
      const { passwords, checked } = counting();
      const check = checkOf(await hashed({ users }), passwords);
      for (const names of [
        ['ann', 'amy'],
        ['eve', 'eva'],
      ]) {
        checked.length = 0;
        await Promise.all(names.map((name) => refusedBy(check, `${name}:wrong`)));
        expect(new Set(checked).size, names.join()).to.equal(2);
      }
    });

    it('cost nothing where the same wrong credentials come again, whoever they are of', async () => {
      const { passwords, checked } = counting();
      const check = checkOf(await hashed({ users: [ANN] }), passwords);
      for (const wrong of ['ann:wrong', 'eve:open sesame']) {
        await refusedBy(check, wrong);
        checked.length = 0;
        for (let i = 0; i < 5; i++) expect((await refusedBy(check, wrong)).code).to.equal('AUTH_REJECTED');
        expect(checked, wrong).to.deep.equal([]);
      }
      expect((await check(new Call('test', { headers: basic('ann:open sesame') }))).name).to.equal('ann');
    });

    it('of one definition are not refused for what another one refused', async () => {
      const kernel = wired(true);
      const [first, second] = await Promise.all(
        ['old password', 'new password'].map(async (password) => {
          const guard = kernel.cradle.guards.get('basic') as Guard;
          return compiled(guard, (await guard.keep?.({ users: [{ ...ANN, password }] }, null)) as object);
        }),
      );
      for (let i = 0; i < 3; i++) {
        expect((await refusedBy(first as Check, 'ann:new password')).code).to.equal('AUTH_REJECTED');
        expect((await second?.(new Call('test', { headers: basic('ann:new password') })))?.name).to.equal('ann');
      }
    });

    it('are told that the server is busy where it is, and then let in', async () => {
      const check = checkOf(await hashed({ users: [ANN] }), { ...CHEAP, parallel: 1, waiting: 0 });
      const first = refusedBy(check, 'ann:guess');
      const error = await refusedBy(check, 'ann:open sesame');
      expect(error).to.include({ code: 'SERVER_BUSY', kind: 'busy' });
      expect((await first).code).to.equal('AUTH_REJECTED');
      expect((await check(new Call('test', { headers: basic('ann:open sesame') }))).name).to.equal('ann');
    });

    it('are let in by nothing but a true answer, whatever a plugin answers with', async () => {
      const kept = await hashed({ users: [ANN] });
      const Elsewhere = runInNewContext('Promise') as typeof Promise;
      for (const [answer, isIn] of [
        [true, true],
        [false, false],
        [Promise.resolve(true), true],
        [Promise.resolve('no'), false],
        [Elsewhere.resolve(true), true],
        [Elsewhere.resolve(false), false],
        [{}, false],
      ] as const) {
        const passwords = definePlugin({
          id: 'password.answering',
          api: 1,
          config: Type.Object({}),
          create: () => ({ hash: async () => 'x', verify: () => answer as boolean }),
        });
        const check = checkOf(kept, passwords);
        const end = await Promise.resolve(new Call('test', { headers: basic('ann:open sesame') }))
          .then(check)
          .then(
            ({ name }) => name,
            ({ code }) => code,
          );
        expect(end).to.equal(isIn ? 'ann' : 'AUTH_REJECTED');
      }
    });

    it('cannot be kept without a plugin that hashes', async () => {
      const guard = wired(false).cradle.guards.get('basic') as Guard;
      const error = await guard.keep?.({ users: [ANN] }, null).catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'RECORD_INVALID', hint: 'Add password.argon2 to "plugins" in the config.' });
      expect((error as GantryError).problems?.map((p) => p.path)).to.deep.equal(['users.0.password']);
    });

    it('are refused all at once where more than one password cannot be kept', async () => {
      const guard = wired(true).cradle.guards.get('basic') as Guard;
      const users = [{ ...ANN, password: 'x'.repeat(1001) }, BOB, { username: 'eve', passwordHash: '$2b$10$hush' }];
      const error = await guard.keep?.({ users }, null).catch((thrown: unknown) => thrown);
      expect((error as GantryError).problems?.map((p) => p.path)).to.deep.equal([
        'users.0.password',
        'users.2.passwordHash',
      ]);
    });

    it('have a hash of their own, also where the password is the same', async () => {
      const { users } = await hashed({ users: [ANN, { ...BOB, password: ANN.password }] });
      expect(new Set((users as { passwordHash: string }[]).map((u) => u.passwordHash)).size).to.equal(2);
    });

    it('have no part in the earlier hash of another', async () => {
      const guard = wired(true).cradle.guards.get('basic') as Guard;
      const kept = (await guard.keep?.({ users: [ANN] }, null)) as { users: { passwordHash: string }[] };
      const renamed = await guard.keep?.({ users: [{ ...ANN, username: 'amy' }] }, kept);
      expect(renamed).to.not.have.nested.property('users[0].passwordHash', kept.users[0]?.passwordHash);
      const taken = await guard.keep?.({ users: [{ ...kept.users[0], username: 'amy' }, ANN] }, kept);
      expect(taken).to.have.nested.property('users[0].passwordHash', kept.users[0]?.passwordHash);
      expect(taken).to.have.nested.property('users[1].passwordHash', kept.users[0]?.passwordHash);
    });

    it("are hashed anew where what was kept is another plugin's", async () => {
      const guard = wired(true).cradle.guards.get('basic') as Guard;
      const made = await guard.keep?.({ users: [ANN] }, { users: [{ username: 'ann', passwordHash: '$2b$10$x' }] });
      expect(made)
        .to.have.nested.property('users[0].passwordHash')
        .that.matches(/^\$argon2id\$/);
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

type Check = (call: Call) => Identity | Promise<Identity>;

function wired(withHashes: boolean | Record<string, unknown>): Process {
  const block = typeof withHashes === 'object' ? withHashes : CHEAP;
  return new Process({ logs: new Logs({ level: 'silent' }) }).create([
    ...(withHashes === false ? [] : [{ id: argon2.id, plugin: argon2, config: block }]),
    { id: ID, plugin, config: {} },
  ]);
}

function compiled(guard: Guard, definition: object): Check {
  return guard.compile(wrapSecrets(guard.definition, definition) as Record<string, unknown>);
}

/** Of users whose passwords are in the clear. */
function compile(definition: object): (call: Call) => Identity {
  return compiled(wired(false).cradle.guards.get('basic') as Guard, definition) as (call: Call) => Identity;
}

/** Of a definition that was kept; `passwords` is a plugin, or the config of ours. */
function checkOf(definition: object, passwords: Plugin | Record<string, unknown> = CHEAP): Check {
  const one = isPlugin(passwords) ? passwords : argon2;
  const kernel = new Process({ logs: new Logs({ level: 'silent' }) }).create([
    { id: one.id, plugin: one, config: isPlugin(passwords) ? {} : passwords },
    { id: ID, plugin, config: {} },
  ]);
  return compiled(kernel.cradle.guards.get('basic') as Guard, definition);
}

async function hashed(definition: Record<string, unknown>): Promise<Record<string, unknown>> {
  const guard = wired(true).cradle.guards.get('basic') as Guard;
  return (await guard.keep?.(definition, null)) as Record<string, unknown>;
}

function isPlugin(one: Plugin | Record<string, unknown>): one is Plugin {
  return typeof one['create' as keyof typeof one] === 'function';
}

/** Our own plugin, of which each check is listed: password and hash. */
function counting(): { passwords: Plugin; checked: string[] } {
  const checked: string[] = [];
  const passwords = definePlugin({
    id: 'password.counting',
    api: 1,
    config: Type.Object({}),
    create({ hooks, log, load, id }) {
      const config = { ...CHEAP, parallelism: 1, parallel: 2, waiting: 20, cacheSize: 10, cacheMs: 1000 };
      const own = argon2.create({ config, hooks, log, load, id });
      return {
        hash: (password) => own.hash(password),
        verify(password, hash) {
          checked.push(`${password} ${hash}`);
          return own.verify(password, hash);
        },
      };
    },
  });
  return { passwords, checked };
}

async function refusedBy(check: Check, userPass: string): Promise<GantryError> {
  const end = await Promise.resolve(new Call('test', { headers: basic(userPass) }))
    .then(check)
    .catch((error: unknown) => error);
  if (isGantryError(end)) return end;
  throw new Error('was let in');
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
