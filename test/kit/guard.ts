/** The contract kit of the guard port: every promise of core/ports/guard.ts. */
import { expect } from 'chai';
import { Type } from '../../core/api.ts';
import { Call, type Identity, type Reply } from '../../core/call.ts';
import { type GantryError, isGantryError, toFault } from '../../core/errors.ts';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import { definePlugin, type Plugin } from '../../core/plugin.ts';
import { nameOf } from '../../core/ports/index.ts';
import type { Channel } from '../../core/ports/transport.ts';
import { compileConfig } from '../../core/schema.ts';
import { Secret, wrapSecrets } from '../../core/secret.ts';
import { defineService } from '../../core/service.ts';

type Headers = Readonly<Record<string, string | readonly string[]>>;
type Definition = Readonly<Record<string, unknown>>;

export interface GuardKit {
  readonly plugin: Plugin;
  readonly config?: Definition;
  /** A channel's `security` block for this guard, without the `guard` key. */
  readonly definition: Definition;
  /** Credentials that it lets in, and as whom. */
  readonly right: Headers;
  readonly identity: Identity;
  /** Credentials that it does not let in. */
  readonly wrong: readonly Headers[];
  /** Definitions that its schema refuses, and the end of the path where. An unknown key is always tried. */
  readonly refused?: readonly { readonly definition: Definition; readonly path: string }[];
}

export function testGuard(kit: GuardKit): void {
  const { plugin, config = {}, definition, right, identity, wrong, refused = [] } = kit;
  const lines: string[] = [];
  let kernel: Kernel;
  let check: (call: Call) => Identity | Promise<Identity>;
  let wrapped: Definition;

  before(async () => {
    const logs = new Logs({ level: 'debug', to: { write: (line) => void lines.push(line) } });
    kernel = new Kernel({ logs, graceMs: 1000 }).create([
      { id: plugin.id, plugin, config: structuredClone(config) },
      { id: 'codec.json', plugin: json, config: {} },
      { id: 'transport.kit', plugin: hand, config: {} },
    ]);
    kernel.deploy([whoami]);
    await kernel.start();
    const guard = guardOf();
    wrapped = wrapSecrets(guard.definition, structuredClone(definition)) as Definition;
    check = guard.compile(wrapped);
  });
  after(() => kernel.stop());

  const guardOf = () => {
    const guard = kernel.cradle.guards.get(nameOf(plugin.id));
    if (guard === undefined) throw new Error(`${plugin.id} is not among the guards`);
    return guard;
  };
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
        const error = await refusal(call(headers));
        expect(error).to.include({ code: 'AUTH_MISSING', kind: 'unauthorized' });
        expect(error.challenge).to.be.a('string').that.matches(CHALLENGE);
      }
    });

    for (const [i, headers] of wrong.entries()) {
      it(`refuses wrong credentials (${i + 1} of ${wrong.length}), and tells nothing of what is right`, async () => {
        const error = await refusal(call(headers));
        expect(error).to.include({ code: 'AUTH_REJECTED', kind: 'unauthorized' });
        expect(error.challenge).to.be.a('string').that.matches(CHALLENGE);
        const told = [everything(error), logged({ error, definition: wrapped })].join('\n');
        for (const secret of hidden(headers)) expect(told).to.not.include(secret);
      });
    }

    it('tells wrong credentials apart in nothing', async () => {
      const views = await Promise.all(wrong.map(async (headers) => JSON.stringify(view(await refusal(call(headers))))));
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

  async function refusal(one: Call): Promise<GantryError> {
    let thrown: unknown;
    try {
      await check(one);
    } catch (error) {
      thrown = error;
    }
    if (isGantryError(thrown)) return thrown;
    throw new Error(`The guard let it in, or threw what is no GantryError: ${String(thrown)}`);
  }
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
