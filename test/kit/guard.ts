/** The contract kit of the guard port: every promise of core/ports/guard.ts. */
import { expect } from 'chai';
import { Type } from '../../core/api.ts';
import { Call, type Identity, type Reply } from '../../core/call.ts';
import { definePlugin, defineService, type Plugin } from '../../core/cradle.ts';
import { type GantryError, isGantryError, toFault } from '../../core/errors.ts';
import { Logs } from '../../core/log/log.ts';
import { nameOf } from '../../core/ports/table.ts';
import type { Channel } from '../../core/ports/transport.ts';
import { Process } from '../../core/process.ts';
import { compileConfig } from '../../core/schema/check.ts';
import { Secret, wrapSecrets } from '../../core/schema/secret.ts';

type Headers = Readonly<Record<string, string | readonly string[]>>;
type Definition = Readonly<Record<string, unknown>>;
type Check = (call: Call) => Identity | Promise<Identity>;

export interface GuardKit {
  readonly plugin: Plugin;
  readonly config?: Definition;
  /** Plugins that it asks for. */
  readonly beside?: readonly { readonly plugin: Plugin; readonly config?: Definition }[];
  /** A security definition for this guard, without the `guard` key, as an operator writes it: secrets in the clear. */
  readonly definition: Definition;
  /** Credentials that it lets in, and as whom. */
  readonly right: Headers;
  readonly identity: Identity;
  /** Credentials that it does not let in. */
  readonly wrong: readonly Headers[];
  /** Definitions that its schema refuses, and the end of the path where. An unknown key is always tried. */
  readonly refused?: readonly { readonly definition: Definition; readonly path: string }[];
  /** Definitions that its schema takes and that it does not keep, and the path of a problem, as `users.0.password`. */
  readonly unkept?: readonly { readonly definition: Definition; readonly path: string }[];
}

export function testGuard(kit: GuardKit): void {
  const { plugin, config = {}, beside = [], definition, right, identity, wrong, refused = [], unkept = [] } = kit;
  const lines: string[] = [];
  let kernel: Process;
  let check: Check;
  let wrapped: Definition;

  before(async () => {
    const logs = new Logs({ level: 'debug', to: { write: (line) => void lines.push(line) } });
    kernel = new Process({ logs, graceMs: 1000 }).create([
      ...[{ plugin, config }, ...beside].map(({ plugin: one, config: block = {} }) => {
        return { id: one.id, plugin: one, config: structuredClone(block) };
      }),
      { id: 'codec.json', plugin: json, config: {} },
      { id: 'transport.kit', plugin: hand, config: {} },
    ]);
    kernel.deploy([whoami]);
    await kernel.start();
    const guard = guardOf();
    wrapped = wrap(definition);
    check = guard.compile(wrapped);
  });
  after(() => kernel.stop());

  const guardOf = () => {
    const guard = kernel.cradle.guards.get(nameOf(plugin.id));
    if (guard === undefined) throw new Error(`${plugin.id} is not among the guards`);
    return guard;
  };
  const wrap = (given: Definition) => wrapSecrets(guardOf().definition, structuredClone(given)) as Definition;
  const problemsOf = (given: Definition) => compileConfig(guardOf().definition)(structuredClone(given), 'security');
  /** What nobody may read: each secret of the definition, and each value that a caller sent. */
  const hidden = (headers: Headers): string[] => [
    ...secretsOf(wrapped),
    ...Object.values(headers)
      .flat()
      .filter((value) => value.length > 8),
  ];

  describe('definition', () => {
    it('is taken as it stands', () => {
      expect(problemsOf(definition)).to.deep.equal([]);
    });

    it('is refused with the path of a key that is not known', () => {
      const [problem, ...more] = problemsOf({ ...definition, notAKeyOfAnyGuard: 1 });
      expect(problem?.path).to.equal('security.notAKeyOfAnyGuard');
      expect(more).to.deep.equal([]);
    });

    for (const { definition: bad, path } of refused) {
      it(`is refused at ${path}: ${shown(bad)}`, () => {
        const paths = problemsOf(bad).map((p) => p.path);
        expect(paths, 'paths of the problems').to.include(`security.${path}`);
      });
    }

    it('shows no secret to who logs it', () => {
      const told = logged({ definition: wrapped });
      for (const secret of secretsOf(wrapped)) expect(told).to.not.include(secret);
    });
  });

  describe('calls', () => {
    it('lets the right credentials in, and says who calls', async () => {
      const found = await check(call(right));
      expect({ name: found.name, roles: [...found.roles] }).to.deep.equal({
        name: identity.name,
        roles: [...identity.roles],
      });
    });

    it('gives an identity that no service can change for the next call', async () => {
      const found = (await check(call(right))) as { name: string; roles: string[] };
      attempt(() => (found.name = 'somebody else'));
      attempt(() => found.roles.push('admin'));
      const again = await check(call(right));
      expect([again.name, [...again.roles]]).to.deep.equal([identity.name, [...identity.roles]]);
    });

    it('asks for credentials where there are none', async () => {
      for (const headers of [undefined, {}, { 'x-something-else': 'yes' }]) {
        const error = await refusal(check, call(headers));
        expect(error).to.include({ code: 'AUTH_MISSING', kind: 'unauthorized' });
        expect(error.challenge).to.be.a('string').that.matches(CHALLENGE);
      }
    });

    for (const [i, headers] of wrong.entries()) {
      it(`refuses wrong credentials (${i + 1} of ${wrong.length}), and tells nothing of what is right`, async () => {
        const error = await refusal(check, call(headers));
        expect(error).to.include({ code: 'AUTH_REJECTED', kind: 'unauthorized' });
        expect(error.challenge).to.be.a('string').that.matches(CHALLENGE);
        const told = [everything(error), logged({ error, definition: wrapped })].join('\n');
        for (const secret of hidden(headers)) expect(told).to.not.include(secret);
      });
    }

    it('tells wrong credentials apart in nothing', async () => {
      const views = await Promise.all(
        wrong.map(async (headers) => JSON.stringify(view(await refusal(check, call(headers))))),
      );
      expect([...new Set(views)], 'views of a refused caller').to.have.length.of.at.most(1);
    });

    it('keeps apart calls that come at once', async () => {
      const all = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const headers = i % 2 === 0 ? right : wrong[i % wrong.length];
          return Promise.resolve(call(headers))
            .then(check)
            .then(
              () => 'in',
              () => 'out',
            );
        }),
      );
      expect(all).to.deep.equal(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 'in' : 'out')));
    });
  });

  describe('keep', () => {
    let kept: Definition;

    before(async function () {
      if (guardOf().keep === undefined) {
        console.log(`      ${plugin.id} has no keep(): a definition is kept as it is written`);
        return this.skip();
      }
      kept = await keep(definition, null);
    });

    const keep = async (given: Definition, earlier: Definition | null): Promise<Definition> => {
      const inputs = structuredClone([given, earlier]);
      const made = (await guardOf().keep?.(given, earlier)) as Definition;
      expect([given, earlier], 'what keep() was given').to.deep.equal(inputs);
      return made;
    };
    const refusedKeep = async (given: Definition, earlier: Definition | null): Promise<GantryError> => {
      const thrown = await keep(given, earlier).catch((error: unknown) => error);
      if (isGantryError(thrown)) return thrown;
      throw new Error(`It was kept, or refused by what is no GantryError: ${String(thrown)}`);
    };

    it('gives JSON that its own schema takes', () => {
      expect(JSON.parse(JSON.stringify(kept))).to.deep.equal(kept);
      expect(problemsOf(kept)).to.deep.equal([]);
    });

    it('gives nothing of a secret in the clear', () => {
      const secrets = secretsOf(wrapped);
      expect(secrets, 'secrets of the definition').to.not.be.empty;
      for (const secret of secrets) expect(JSON.stringify(kept)).to.not.include(JSON.stringify(secret).slice(1, -1));
    });

    it('gives as secret all that takes their place', () => {
      const hidden = new Set(secretsOf(wrap(kept)));
      const written = leaves(definition);
      const added = [...leaves(kept)].filter(([path, value]) => written.get(path) !== value);
      expect(added, 'what keep() put in').to.not.be.empty;
      for (const [path, value] of added) expect(hidden.has(value as string), path).to.equal(true);
    });

    it('lets the same callers in, and nobody else', async function () {
      this.timeout(60_000);
      const again = guardOf().compile(wrap(kept));
      for (let i = 0; i < 3; i++) {
        const { name, roles } = await again(call(right));
        expect({ name, roles: [...roles] }).to.deep.equal({ name: identity.name, roles: [...identity.roles] });
        for (const headers of [{}, ...wrong]) {
          const told = view(await refusal(again, call(headers)));
          expect(told).to.deep.equal(view(await refusal(check, call(headers))));
        }
      }
    });

    it('lets nobody in by what is kept', async () => {
      const again = guardOf().compile(wrap(kept));
      const swapped = secretsOf(wrapped).flatMap((secret) => {
        return secretsOf(wrap(kept)).map((hash) => exchanged(right, secret, hash));
      });
      for (const headers of swapped.filter((one) => one !== null)) {
        expect((await refusal(again, call(headers))).kind).to.equal('unauthorized');
      }
    });

    it('gives what is kept already unchanged', async () => {
      for (const earlier of [null, kept]) expect(await keep(kept, earlier)).to.deep.equal(kept);
    });

    it('gives the same for the same definition, written again', async () => {
      expect(await keep(definition, kept)).to.deep.equal(kept);
    });

    it('changes of a changed secret its own hash, and no other', async () => {
      const secrets = secretsOf(wrapped);
      for (const secret of new Set(secrets)) {
        const times = secrets.filter((one) => one === secret).length;
        const next = await keep(changed(definition, secret) as Definition, kept);
        const now = leaves(next);
        expect([...now.keys()]).to.deep.equal([...leaves(kept).keys()]);
        const different = [...leaves(kept)].filter(([path, value]) => now.get(path) !== value);
        expect(different).to.have.lengthOf(times);
      }
    });

    it('keeps out who was let in by a secret that is another now', async () => {
      const all = secretsOf(wrapped).reduce<unknown>((made, secret) => changed(made, secret), definition);
      const again = guardOf().compile(wrap(await keep(all as Definition, kept)));
      expect(await refusal(again, call(right))).to.include({ code: 'AUTH_REJECTED' });
    });

    for (const { definition: bad, path } of unkept) {
      it(`refuses a definition at ${path}, and tells no secret: ${shown(bad)}`, async () => {
        for (const earlier of [null, kept]) {
          const error = await refusedKeep(bad, earlier);
          expect(error).to.include({ code: 'RECORD_INVALID', kind: 'invalid' });
          expect(error.problems?.map((p) => p.path)).to.include(path);
          const told = `${everything(error)} ${error.stack}`;
          for (const secret of secretsOf(wrap(bad)).filter(isTelling)) expect(told).to.not.include(secret);
        }
      });
    }
  });

  describe('on a channel', () => {
    let channel: Channel;

    before(() => {
      const security = { guard: nameOf(plugin.id), ...structuredClone(definition) };
      channel = kernel.cradle.channels.bind({
        name: 'kit',
        transport: 'kit',
        address: {},
        service: whoami.name as string,
        security,
      });
    });

    it('hands the identity to the service', async () => {
      const reply = await channel.run(call(right));
      expect(reply.outcome).to.equal('ok');
      expect(JSON.parse(reply.body as string)).to.deep.equal({ name: identity.name, roles: [...identity.roles] });
    });

    it('keeps others from the service', async () => {
      for (const headers of [{}, ...wrong]) {
        const reply: Reply = await channel.run(call(headers));
        expect(reply.outcome).to.equal('unauthorized');
        expect(reply.error?.challenge).to.match(CHALLENGE);
        expect(reply.body).to.equal(null);
      }
    });

    it('leaves nothing of the credentials in the log', async () => {
      for (const headers of [right, ...wrong]) await channel.run(call(headers));
      expect(lines.length, 'lines logged').to.be.greaterThan(0);
      const all = lines.join('\n');
      for (const secret of [right, ...wrong].flatMap(hidden)) expect(all).to.not.include(secret);
    });
  });

  function logged(fields: object): string {
    const from = lines.length;
    kernel.log.error(fields, 'from the kit');
    const told = lines.slice(from).join('');
    expect(told, 'the log line').to.include('from the kit');
    return told;
  }
}

async function refusal(check: Check, one: Call): Promise<GantryError> {
  let thrown: unknown;
  try {
    await check(one);
  } catch (error) {
    thrown = error;
  }
  if (isGantryError(thrown)) return thrown;
  throw new Error(`The guard let it in, or threw what is no GantryError: ${String(thrown)}`);
}

/** A scheme, and what may follow it (RFC 9110, 11.6.1), on one line. */
const CHALLENGE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+( [\x20-\x7e]+)?$/;

const whoami = defineService({
  name: 'kit.whoami',
  input: Type.Unknown(),
  output: Type.Unknown(),
  create:
    () =>
    (_input, { identity }) =>
      identity,
});

const json = definePlugin({
  id: 'codec.json',
  api: 1,
  config: Type.Object({}),
  create: () => ({
    contentTypes: ['application/json'],
    typed: true,
    decode: (body: Uint8Array | string) => JSON.parse(body.toString()),
    encode: (value: unknown) => JSON.stringify(value),
  }),
});

/** Carries nothing: the kit itself runs the channel. */
const hand = definePlugin({
  id: 'transport.kit',
  api: 1,
  config: Type.Object({}),
  create: () => ({
    supports: { reply: true, headers: true, largeBody: true },
    address: Type.Object({}),
    bind() {},
    unbind() {},
  }),
});

function call(headers: Headers | undefined): Call {
  return new Call('kit', headers === undefined ? {} : { headers });
}

function attempt(change: () => unknown): void {
  try {
    change();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Every secret below a value that `wrapSecrets` has been through. */
function secretsOf(value: unknown): string[] {
  if (value instanceof Secret) return [value.reveal()];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(secretsOf) : [];
}

/** Each value below a definition that is no list and no map, by its path. */
function leaves(value: unknown, at = ''): Map<string, unknown> {
  if (typeof value !== 'object' || value === null) return new Map([[at, value]]);
  return new Map(Object.entries(value).flatMap(([key, entry]) => [...leaves(entry, `${at}.${key}`)]));
}

/** A copy in which a text is longer by one character wherever it stands alone. */
function changed(value: unknown, text: string): unknown {
  if (value === text) return `${text}x`;
  if (Array.isArray(value)) return value.map((entry) => changed(entry, text));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, changed(entry, text)]));
}

/** Headers with another secret in its place, in the clear or in base64; null where it is not in them. */
function exchanged(headers: Headers, secret: string, other: string): Headers | null {
  const within = (text: string) => (text.includes(secret) ? text.replace(secret, () => other) : null);
  const coded = (text: string) => {
    const [, scheme = '', token = ''] = /^(\S+ )?(\S+)$/.exec(text) ?? [];
    const inside = within(Buffer.from(token, 'base64').toString());
    return inside === null ? null : `${scheme}${Buffer.from(inside).toString('base64')}`;
  };
  const entries = Object.entries(headers).map(([name, value]) => {
    const made = typeof value === 'string' ? (within(value) ?? coded(value)) : null;
    return [name, made ?? value] as const;
  });
  return entries.some(([name, value]) => headers[name] !== value) ? Object.fromEntries(entries) : null;
}

/** Long enough to be in a text for no other reason. */
function isTelling(secret: string): boolean {
  return secret.length > 5;
}

/** All that anything could print of an error. */
function everything(error: GantryError): string {
  const own = Object.getOwnPropertyNames(error).map((key) => String(Reflect.get(error, key)));
  return [...own, JSON.stringify(error), JSON.stringify(view(error)), String(error.cause)].join('\n');
}

/** All that a caller could see of it. */
function view(error: GantryError): object {
  return { ...toFault(error, 'cid'), challenge: error.challenge };
}

function shown(definition: Definition): string {
  const text = JSON.stringify(definition);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
