import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import {
  Bytes,
  Call,
  definePlugin,
  defineService,
  GantryError,
  type Plugin,
  type Service,
  Stream,
  type TSchema,
  Type,
} from '../../../core/api.ts';
import type { ServiceDeps } from '../../../core/cradle.ts';
import { loader } from '../../../core/doors.ts';
import { backoffMs, pause } from '../../../core/time/retry.ts';
import { serve } from '../../fixtures/direct.ts';

type Handle = (input: never, call: Call) => unknown;
type Served = Awaited<ReturnType<typeof serve>>;

/** A service of any types, for tests that are about something else. */
function any(name: string, handle: Handle, more: Partial<Service> = {}): Service {
  const handler = handle as (input: unknown, call: Call) => unknown;
  return defineService({
    name,
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => handler,
    ...more,
  } as never);
}
function typed(name: string, input: TSchema, output: TSchema, handle: Handle): Service {
  return any(name, handle, { input, output });
}

describe('services', () => {
  let served: Served | null = null;
  const open = async (services: readonly Service[], options: Parameters<typeof serve>[1] = {}): Promise<Served> =>
    (served = await serve(services, options));
  afterEach(async () => {
    await served?.kernel.stop();
    served = null;
  });

  describe('deploying', () => {
    it('a service answers, is taken away, and answers again on the same channel', async () => {
      const { call, services } = await open([any('a', () => 1)]);
      expect((await call('a')).value).to.equal(1);
      services.deploy(any('a', () => 2));
      expect((await call('a')).value).to.equal(2);
      services.retire('a');
      const gone = await call('a');
      expect([gone.outcome, gone.error?.code]).to.deep.equal(['unavailable', 'SERVICE_NOT_DEPLOYED']);
      expect([services.has('a'), services.names()]).to.deep.equal([false, []]);
      services.deploy(any('a', () => 3));
      expect((await call('a')).value).to.equal(3);
    });
    it('a call in hand ends with the service that it began with', async () => {
      let answer: (value: unknown) => void = () => {};
      const { call, services } = await open([any('a', () => new Promise((resolve) => (answer = resolve)))]);
      const old = call('a');
      await turn();
      services.deploy(any('a', () => 'new'));
      expect((await call('a')).value).to.equal('new');
      answer('old');
      expect((await old).value).to.equal('old');
    });
    it('a call in hand is held to the schema that it began with, whatever is deployed meanwhile', async () => {
      let answer: (value: unknown) => void = () => {};
      const slow = (output: TSchema) =>
        typed('a', Type.Unknown(), output, () => new Promise((resolve) => (answer = resolve)));
      const old = Type.Object({ old: Type.String() });
      const fresh = Type.Object({ fresh: Type.Integer() });
      const { call, services } = await open([slow(old)]);
      const good = call('a');
      await turn();
      services.deploy(slow(fresh));
      answer({ old: 'x', fresh: 'y' });
      expect((await good).value).to.deep.equal({ old: 'x' });
      services.deploy(slow(old));
      const bad = call('a');
      await turn();
      services.deploy(slow(fresh));
      answer({ fresh: 1 });
      expect((await bad).error?.code).to.equal('OUTPUT_INVALID');
    });
    it('hook serviceDeployed tells the service with its name, also where it has it from its file', async () => {
      const seen: (string | undefined)[] = [];
      const observer = definePlugin({
        id: 'feature.observer',
        api: 1,
        config: Type.Object({}),
        create: ({ hooks, id }) => {
          hooks.serviceDeployed.tap(id, (service) => void seen.push(service.name));
          return {};
        },
      }) as unknown as Plugin;
      const { services } = await open([any('a', () => 1)], {
        plugins: [{ id: 'feature.observer', plugin: observer, config: {} }],
      });
      const nameless = defineService({ input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 });
      services.deploy(nameless, 'from.file');
      services.deploy(
        any('own', () => 1),
        'given',
      );
      expect(seen).to.deep.equal(['a', 'from.file', 'given']);
      expect(nameless.name).to.equal(undefined);
    });
    it('what changes with a redeploy: schemas, verbs and kind of input', async () => {
      const { call, services, channels } = await open([
        typed('a', Type.Object({ n: Type.Integer() }), Type.Unknown(), (i) => i),
      ]);
      expect((await call('a', { n: 'x' })).error?.code).to.equal('INPUT_INVALID');
      services.deploy(typed('a', Type.Object({ n: Type.String() }), Type.Object({}), (i) => i));
      expect((await call('a', { n: 'x' })).value).to.deep.equal({});
      services.deploy(any('a', () => 1, { input: Bytes, output: Stream, create: () => ({ get: () => 1 }) as never }));
      expect(channels.get('a')?.contract).to.deep.include({ input: 'bytes', gives: 'stream', verbs: ['get'] });
      services.deploy(any('a', () => 1, { input: Stream, output: Bytes }));
      expect(channels.get('a')?.contract).to.deep.include({ input: 'stream', gives: 'bytes', verbs: null });
      services.retire('a');
      expect(channels.get('a')?.contract).to.deep.include({ input: 'value', gives: 'value', verbs: null });
    });
    it('one that is not valid changes nothing', async () => {
      const { call, services } = await open([any('a', () => 'old')]);
      const broken = [
        any('a', () => 1, { input: Type.Unsafe({ type: 'nothing' }) }),
        any('a', () => 1, { output: Type.Object({ a: Type.String({ format: 'none' }) }) }),
        any('a', () => 1, { create: (() => null) as never }),
        any('a', () => 1, { create: (() => ({})) as never }),
        any('a', () => 1, { create: (() => ({ get: 5 })) as never }),
        any('a', () => 1, { create: (() => ({ GET: () => 1 })) as never }),
        any('a', () => 1, {
          create: () => {
            throw new Error('no table');
          },
        }),
      ];
      for (const service of broken) {
        expect(() => services.deploy(service))
          .to.throw(GantryError, "'a'")
          .with.property('code', 'SERVICE_INVALID');
        expect((await call('a')).value).to.equal('old');
      }
      expect(() => services.deploy(broken[6] as Service)).to.throw('no table');
      expect(() =>
        services.deploy(defineService({ input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 })),
      ).to.throw(GantryError);
    });
    it('a name that nobody has: the nearest is told to the operator', async () => {
      const { services } = await open([any('demo.hello', () => 1)]);
      expect(() => services.get('demo.helo'))
        .to.throw(GantryError)
        .with.property('hint', "Did you mean 'demo.hello'?");
      expect(() => services.retire('other'))
        .to.throw(GantryError)
        .with.property('code', 'SERVICE_NOT_FOUND');
      expect(services.list().map((s) => s.name)).to.deep.equal(['demo.hello']);
    });
    it('two of one name are refused at boot', async () => {
      const { kernel } = await open([any('a', () => 1)]);
      expect(() => kernel.deploy([any('a', () => 2)]))
        .to.throw(GantryError, "'a'")
        .with.property('code', 'SERVICE_DUPLICATE');
    });
    it('create() is given what a service needs', async () => {
      let given: object = {};
      const service = any('a', () => 1, {
        errors: { OUT: { kind: 'conflict' } },
        create: (deps: ServiceDeps) => {
          given = deps;
          return () => [deps.server.state, deps.server.data, deps.server.name];
        },
      });
      const { call, kernel } = await open([service], { data: '/srv/data', name: 'shop1' });
      expect(given).to.have.all.keys(
        ...['log', 'connections', 'errors', 'kinds', 'plugins', 'records', 'server', 'services', 'sessions', 'stats'],
        ...['balancer', 'cluster', 'dictionaries', 'effects', 'kv', 'schedule', 'scheduler'],
      );
      expect((await call('a')).value).to.deep.equal(['ready', '/srv/data', 'shop1']);
      await kernel.stop();
    });
  });

  it('a handler that fails at once when its time is over does not hide that it was late', async () => {
    const slow = any('slow', () => new Promise(() => {}), {
      create: () => (_input, call) => new Promise((_, reject) => call.onAbort(() => reject(new Error('gave up')))),
    });
    const { call, kernel } = await open([slow], { timeoutMs: 30 });
    expect((await call('slow')).error?.code).to.equal('CALL_TIMEOUT');
    await kernel.stop();
  });

  describe('answering', () => {
    it('the input is checked and filled in, the output checked and stripped', async () => {
      const service = typed(
        'a',
        Type.Object({ name: Type.String(), times: Type.Integer({ default: 2 }) }),
        Type.Object({ said: Type.String() }),
        ({ name, times }: { name: string; times: number }) => ({ said: name.repeat(times), password: 'x' }),
      );
      const { call } = await open([service]);
      expect((await call('a', { name: 'x' })).value).to.deep.equal({ said: 'xx' });
      const refused = await call('a', { name: 5 });
      expect([refused.outcome, refused.error?.code, refused.error?.problems?.[0]?.path]).to.deep.equal([
        'invalid',
        'INPUT_INVALID',
        '/name',
      ]);
    });
    it('an output that is not what was declared is a bug', async () => {
      const { call, lines } = await open([
        typed('a', Type.Unknown(), Type.Object({ n: Type.Integer() }), () => ({ n: 'x' })),
      ]);
      expect((await call('a')).error?.code).to.equal('OUTPUT_INVALID');
      expect(JSON.stringify(lines.find((l) => l.level === 'error'))).to.include('/n must be an integer');
    });
    it('nothing is no answer where the schema wants one, and 204 where it allows null', async () => {
      const nothing = (name: string, output: TSchema) => typed(name, Type.Unknown(), output, () => undefined);
      const { call, lines } = await open([
        nothing('object', Type.Object({ n: Type.Optional(Type.Integer()) })),
        nothing('text', Type.String()),
        nothing('default', Type.Object({ n: Type.Integer({ default: 1 }) })),
        nothing('null', Type.Null()),
        nothing('either', Type.Union([Type.Object({ n: Type.Integer() }), Type.Null()])),
        nothing('open', Type.Unknown()),
        nothing('bytes', Bytes),
        typed('said null', Type.Unknown(), Type.Null(), () => null),
      ]);
      for (const name of ['object', 'text', 'default']) {
        lines.length = 0;
        expect((await call(name)).error?.code, name).to.equal('OUTPUT_INVALID');
        expect(lines.filter((l) => l.level === 'error')).to.have.length(1);
      }
      for (const name of ['null', 'either', 'open', 'bytes'])
        expect(await call(name), name).to.include({ outcome: 'ok', body: null, contentType: '' });
      expect(await call('said null')).to.include({ outcome: 'ok', body: 'null' });
    });
    it('a body comes to Bytes and Stream services as it is, undecoded', async () => {
      const raw = '{"not": decoded';
      const { channels } = await open([
        typed('bytes', Bytes, Type.Unknown(), (input: Uint8Array) => [
          input instanceof Uint8Array,
          Buffer.from(input).toString(),
        ]),
        typed('stream', Stream, Type.Unknown(), async (input: Readable) => [
          input instanceof Readable,
          await text(input),
        ]),
        typed('value', Type.Unknown(), Type.Unknown(), () => 1),
      ]);
      const run = async (name: string, body?: string | Uint8Array | null) => {
        const reply = await channels.get(name)?.run(new Call(name, body === undefined ? {} : { body }));
        return reply?.error?.code ?? JSON.parse(String(reply?.body));
      };
      for (const name of ['bytes', 'stream']) {
        expect(await run(name, raw), name).to.deep.equal([true, raw]);
        expect(await run(name, Buffer.from(raw)), name).to.deep.equal([true, raw]);
        for (const nothing of [undefined, null, '', new Uint8Array(0)])
          expect(await run(name, nothing), name).to.deep.equal([true, '']);
      }
      expect(await run('value', raw)).to.equal('SERVICE_FAILED');
    });
    it('a web stream is sent as a stream, where a stream may be', async () => {
      const web = () => new Response('as it comes').body;
      const { channels } = await open([
        typed('stream', Type.Unknown(), Stream, web),
        typed('open', Type.Unknown(), Type.Unknown(), async (_, call) => {
          call.reply.contentType = 'text/plain';
          return web();
        }),
        typed('object', Type.Unknown(), Type.Object({ n: Type.Integer() }), web),
      ]);
      const run = (name: string) => channels.get(name)?.run(new Call(name, {}));
      for (const [name, contentType] of [
        ['stream', 'application/octet-stream'],
        ['open', 'text/plain'],
      ] as const) {
        const reply = await run(name);
        expect(reply, name).to.include({ outcome: 'ok', contentType });
        expect(reply?.body, name).to.be.instanceOf(Readable);
        expect(await text(reply?.body as Readable), name).to.equal('as it comes');
      }
      expect((await run('object'))?.error?.code).to.equal('OUTPUT_INVALID');
    });
    it('no call stays in hand, however it ends', async () => {
      const { run, kernel } = await open([
        any('ok', () => 1),
        any('throws', () => {
          throw new Error('boom');
        }),
        any('strange', () => {
          throw new Proxy(
            {},
            {
              get() {
                throw new Error('do not look');
              },
            },
          );
        }),
        typed('wrong', Type.Integer(), Type.Integer(), () => 1),
      ]);
      for (const name of ['ok', 'throws', 'strange', 'wrong']) {
        await run(name, new Call(name, { body: '"x"' }));
        expect(kernel.cradle.channels.inHand, name).to.equal(0);
      }
      const unreadable = new Call('ok', {
        read() {
          throw new Error('a broken pipe');
        },
      });
      expect((await run('ok', unreadable)).error?.code).to.equal('SERVICE_FAILED');
      expect(kernel.cradle.channels.inHand).to.equal(0);
    });
    it('bytes and streams pass where they are declared or nothing is, and nowhere else', async () => {
      const { run } = await open([
        typed('bytes', Type.Unknown(), Bytes, () => Buffer.from('"raw"')),
        typed('stream', Type.Unknown(), Stream, () => Readable.from(['x'])),
        typed('open', Type.Unknown(), Type.Unknown(), () => Buffer.from('"raw"')),
        typed('object', Type.Unknown(), Type.Object({ n: Type.Integer() }), () => Buffer.from('"raw"')),
        typed('piped', Type.Unknown(), Type.Object({ n: Type.Integer() }), () => ({ pipe() {}, secret: 1 })),
        typed('wide', Type.Unknown(), Type.Object({}, { additionalProperties: true }), () => ({ pipe() {}, n: 1 })),
      ]).then(({ channels }) => ({ run: (name: string) => channels.get(name)?.run(new Call(name, { body: '1' })) }));
      expect(String((await run('bytes'))?.body)).to.equal('"raw"');
      expect((await run('stream'))?.body).to.be.instanceOf(Readable);
      expect(String((await run('open'))?.body)).to.equal('"raw"');
      expect((await run('object'))?.error?.code).to.equal('OUTPUT_INVALID');
      expect((await run('piped'))?.error?.code).to.equal('OUTPUT_INVALID');
      expect(await run('wide')).to.include({ outcome: 'ok', body: '{"n":1}', contentType: 'application/json' });
    });
    it('what can be waited for is waited for, a promise of its own kind too', async () => {
      // A query builder, e.g., is no Promise, and runs when somebody waits for it.
      class Query {
        // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
        then(resolve: (value: unknown) => void): void {
          resolve({ rows: 1 });
        }
      }
      const { call } = await open([any('query', () => new Query()), any('caller', (_, c) => c.invoke('query', null))]);
      expect((await call('caller')).value).to.deep.equal({ rows: 1 });
      expect((await call('query')).value).to.deep.equal({ rows: 1 });
    });
    it('each verb has its handler', async () => {
      const service = any('a', () => 1, { create: () => ({ get: () => 'got', post: (input) => ({ posted: input }) }) });
      const { call } = await open([service]);
      expect((await call('a', undefined, { method: 'GET' })).value).to.equal('got');
      expect((await call('a', 5, { method: 'POST' })).value).to.deep.equal({ posted: 5 });
      expect((await call('a', undefined, { method: 'HEAD' })).value).to.equal('got');
      for (const method of ['DELETE', 'constructor', '__proto__', undefined]) {
        const { error } = await call('a', undefined, method === undefined ? {} : { method });
        expect([error?.code, error?.kind], method).to.deep.equal(['METHOD_UNSUPPORTED', 'missing']);
        expect(error?.hint).to.include('get, post');
      }
    });
    it('declared errors have their code and kind; a caller sees no hint and no cause', async () => {
      const service = any('a', () => 1, {
        errors: { OUT_OF_STOCK: { kind: 'conflict', description: 'None left' } },
        create:
          ({ errors }) =>
          () => {
            throw (errors['OUT_OF_STOCK'] as (m: string, o: object) => GantryError)('None left', {
              hint: 'order more',
            });
          },
      });
      const { error, outcome } = await (await open([service])).call('a');
      expect(error).to.include({ code: 'OUT_OF_STOCK', kind: 'conflict', message: 'None left', hint: 'order more' });
      expect(outcome).to.equal('conflict');
    });
    for (const thrown of ['a text', 5, null, undefined, { a: 1 }]) {
      it(`a service that throws ${JSON.stringify(thrown)} has failed, and nothing is told of it`, async () => {
        const work = [
          () => {
            throw thrown;
          },
          () => Promise.reject(thrown),
        ];
        for (const handle of work) {
          const { call, lines, kernel } = await open([any('a', handle)]);
          const { error } = await call('a');
          expect([error?.code, error?.message]).to.deep.equal(['SERVICE_FAILED', 'The service failed']);
          expect(error?.cause).to.equal(thrown);
          expect(lines.filter((l) => l.level === 'error')).to.have.length(1);
          await kernel.stop();
        }
      });
    }
    it('the log of a call carries its id and channel', async () => {
      const { call, lines } = await open([any('a', (_, c) => c.log.info({ x: 1 }, 'working'))]);
      const { call: made } = await call('a', null, { cid: 'cid-1' });
      expect(made.cid).to.equal('cid-1');
      expect(lines.find((l) => l.msg === 'working')).to.include({ cid: 'cid-1', channel: 'a', x: 1 });
    });
    it('a call that has no id gets one', async () => {
      const { call } = await open([any('a', (_, c) => c.cid)]);
      const [one, two] = [await call('a'), await call('a')];
      expect(one.value).to.match(/^[0-9a-f-]{36}$/);
      expect(one.value).to.not.equal(two.value);
    });
  });

  describe('time', () => {
    it('a service that never answers: the caller is told in time, and the service hears it', async () => {
      let heard: Promise<unknown> = Promise.resolve();
      const service = any(
        'a',
        (_, call) => {
          heard = once(call.signal, 'abort');
          return new Promise(() => {});
        },
        { timeoutMs: 20 },
      );
      const { call } = await open([service]);
      const startedAt = performance.now();
      const { error, call: made } = await call('a');
      expect(error).to.include({ code: 'CALL_TIMEOUT', kind: 'timeout' });
      expect(performance.now() - startedAt).to.be.within(15, 1000);
      await heard;
      expect(made.aborted).to.equal(true);
      expect(made.signal.reason).to.equal(error);
    });
    it('a late result is dropped, and so is a late failure', async () => {
      let late: { resolve(value: unknown): void; reject(error: unknown): void } | null = null;
      const service = any('a', () => new Promise((resolve, reject) => (late = { resolve, reject })), { timeoutMs: 10 });
      const { call } = await open([service]);
      for (const how of ['resolve', 'reject'] as const) {
        expect((await call('a')).error?.code).to.equal('CALL_TIMEOUT');
        (late as unknown as Record<string, (value: unknown) => void>)[how]?.(new Error('late'));
        await turn();
      }
    });
    it('a longer time than a timer can wait is no time at once', async () => {
      const later = () => new Promise((resolve) => setTimeout(resolve, 20, 'in time'));
      const services = [any('a', later), any('b', (_, c) => c.invoke('a', null, { timeoutMs: 2 ** 33 }))];
      const { call } = await open(services, { timeoutMs: 2 ** 32 });
      for (const name of ['a', 'b']) {
        const reply = await call(name);
        expect(reply.error?.code, name).to.equal(undefined);
        expect(reply.value).to.equal('in time');
        expect(reply.call.aborted).to.equal(false);
      }
    });
    it('a call tells what time is left', async () => {
      const { call } = await open([any('a', (_, c) => c.remainingMs, { timeoutMs: 500 })]);
      expect((await call('a')).value).to.be.within(1, 500);
      expect(new Call('a', {}).remainingMs).to.equal(Number.POSITIVE_INFINITY);
    });
  });

  describe('invoke', () => {
    const double = typed(
      'double',
      Type.Object({ n: Type.Integer(), add: Type.Integer({ default: 0 }) }),
      Type.Object({ n: Type.Integer() }),
      ({ n, add }: { n: number; add: number }) => ({ n: 2 * n + add, secret: 1 }),
    );
    const asks = (input: unknown, name = 'double', options = {}) =>
      any('caller', (_, c) => c.invoke(name, input, options));

    it('checks the input, strips the output, and leaves the caller its object', async () => {
      const input = Object.freeze({ n: 2 });
      const { call } = await open([double, asks(input)]);
      expect((await call('caller')).value).to.deep.equal({ n: 4 });
      expect(input).to.deep.equal({ n: 2 });
    });
    it('takes a definition instead of a name, which gives it its types', async () => {
      const length = defineService({
        name: 'length',
        input: Type.Object({ text: Type.String() }),
        output: Type.Object({ length: Type.Integer() }),
        create: () => (input) => ({ length: input.text.length }),
      });
      const caller = any('caller', async (_, c) => {
        const { length: n } = await c.invoke(length, { text: 'abc' });
        const typedAsNumber: number = n;
        // @ts-expect-error: text is a string
        const wrong = await c.invoke(length, { text: 5 }).catch((error: GantryError) => error.code);
        return [typedAsNumber, wrong];
      });
      const { call } = await open([length, caller]);
      expect((await call('caller')).value).to.deep.equal([3, 'INVOCATION_INVALID']);
    });
    it('rejects with the error of the service, or of its output', async () => {
      const of = async (service: Service, input: unknown = null) => {
        const { call, kernel } = await open([service, asks(input, service.name)]);
        const { error } = await call('caller');
        await kernel.stop();
        return error;
      };
      expect((await of(typed('bad', Type.Unknown(), Type.Object({ n: Type.Integer() }), () => ({}))))?.code).to.equal(
        'OUTPUT_INVALID',
      );
      const conflict = any('conflict', () => {
        throw new GantryError('CONFLICT', 'mine');
      });
      expect(await of(conflict)).to.include({ code: 'CONFLICT', message: 'mine' });
      const thrown = any('thrown', () => {
        throw 'text';
      });
      expect(await of(thrown)).to.include({ code: 'SERVICE_FAILED', cause: 'text' });
    });
    it("of a service that does not exist, or with what does not fit, is the invoking service's bug", async () => {
      const anonymous = defineService({ input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 });
      const { call, services, lines } = await open([double, asks(null, 'duble')]);
      const wrong: [Service, string, RegExp][] = [
        [asks(null, 'duble'), 'SERVICE_NOT_FOUND', /'duble'.*Did you mean 'double'\?$/],
        [any('caller', (_, c) => c.invoke(anonymous, null)), 'SERVICE_NOT_FOUND', /has no name/],
        [asks({ n: 'x' }), 'INPUT_INVALID', /'double'.*\/n must be an integer/],
        [asks({}), 'INPUT_INVALID', /'double'.*\/n is required/],
      ];
      for (const [caller, cause, hint] of wrong) {
        services.deploy(caller);
        lines.length = 0;
        const { error, outcome } = await call('caller');
        expect(error).to.include({ code: 'INVOCATION_INVALID', kind: 'bug', message: 'The service failed' });
        expect(outcome).to.equal('bug');
        expect(error?.cause).to.include({ code: cause });
        expect(error?.hint).to.match(hint);
        // The caller's own input may have been good: nothing is told of what was wrong.
        expect(error?.problems).to.equal(undefined);
        const told = lines.filter((l) => l.level === 'error');
        expect(told).to.have.length(1);
        expect(JSON.stringify(told)).to.include(cause);
      }
    });
    it('of a retired service too: for the invoking one it does not exist', async () => {
      const { call, services } = await open([double, asks({ n: 1 })]);
      services.retire('double');
      expect((await call('caller')).error).to.include({ code: 'INVOCATION_INVALID' });
    });
    it('that an invoked service made wrongly is its bug, whoever asked', async () => {
      const middle = any('middle', (_, c) => c.invoke('double', { n: 'x' }));
      const { call } = await open([double, middle, asks(null, 'middle')]);
      expect((await call('caller')).error).to.include({ code: 'INVOCATION_INVALID' });
    });
    it('what the invoked service itself refuses as invalid stays that', async () => {
      const strict = any('strict', () => {
        throw new GantryError('INPUT_INVALID', 'not today');
      });
      const { call } = await open([strict, asks(null, 'strict')]);
      expect((await call('caller')).error).to.include({ code: 'INPUT_INVALID', message: 'not today' });
    });
    describe('a service by verbs', () => {
      const verbs = any('verbs', () => 1, { create: () => ({ get: () => 'got', post: () => 'posted' }) });
      const told = (error: GantryError) => error.code;

      it("runs the handler that is asked for, else that of the calling call's verb", async () => {
        const asksVerb = (name: string, options: object) =>
          any(name, (_, c) => c.invoke('verbs', null, options).catch(told));
        const { call } = await open([
          verbs,
          asksVerb('default', {}),
          asksVerb('get', { verb: 'get' }),
          asksVerb('GET', { verb: 'GET' }),
          asksVerb('head', { verb: 'head' }),
          asksVerb('delete', { verb: 'delete' }),
        ]);
        const of = async (name: string, method?: string) =>
          (await call(name, null, method === undefined ? {} : { method })).value;
        expect([await of('default', 'GET'), await of('default', 'POST')]).to.deep.equal(['got', 'posted']);
        expect([await of('get', 'POST'), await of('GET', 'POST'), await of('head', 'POST')]).to.deep.equal([
          'got',
          'got',
          'got',
        ]);
        expect([await of('get'), await of('default')]).to.deep.equal(['got', 'INVOCATION_INVALID']);
        expect(await of('delete', 'GET')).to.equal('INVOCATION_INVALID');
      });
      it('is asked likewise by retry, parallel, invokeAsync and fanOut, and by what those invoke', async () => {
        const back: unknown[] = [];
        const work = [{ service: 'verbs' }, { service: 'between' }];
        const { call, services } = await open([
          verbs,
          any('between', (_, c) => c.invoke('verbs', null)),
          any('back', (input) => void back.push((input as { value: unknown }).value)),
          any('retry', (_, c) => c.retry('between', null, { verb: 'get' })),
          any('parallel', async (_, c) => (await c.parallel(work, { verb: 'get' })).map((o) => o.ok && o.value)),
          any('later', (_, c) => {
            c.invokeAsync('between', null, { verb: 'get', callback: 'back' });
            c.fanOut(work, { verb: 'get', onEach: 'back' });
          }),
          any('method', (_, c) => c.invoke('method2', null, { verb: 'get' })),
          any('method2', (_, c) => [c.method, c.verb]),
        ]);
        const message = { method: 'POST' };
        expect((await call('retry', null, message)).value).to.equal('got');
        expect((await call('parallel', null, message)).value).to.deep.equal(['got', 'got']);
        await call('later', null, message);
        await services.settle(1000);
        expect(back).to.deep.equal(['got', 'got', 'got']);
        // What came in is what it was.
        expect((await call('method', null, message)).value).to.deep.equal(['POST', 'get']);
      });
    });
    it('a redeploy meanwhile does not change what the output is held to', async () => {
      let answer: (value: unknown) => void = () => {};
      const slow = (output: TSchema) =>
        typed('slow', Type.Unknown(), output, () => new Promise((resolve) => (answer = resolve)));
      const { call, services } = await open([slow(Type.Object({ old: Type.String() })), asks(null, 'slow')]);
      const reply = call('caller');
      await turn();
      services.deploy(slow(Type.Object({ fresh: Type.Integer() })));
      answer({ old: 'x', fresh: 'y' });
      expect((await reply).value).to.deep.equal({ old: 'x' });
    });
    it('goes on with the same id, caller and message', async () => {
      const seen: Call[] = [];
      const { run } = await open([any('inner', (_, c) => void seen.push(c)), asks(null, 'inner')]);
      const made = new Call('caller', { body: null, cid: 'cid-1', headers: { 'x-a': 'b' } });
      made.identity = { name: 'ann', roles: ['admin'] };
      await run('caller', made);
      const [inner] = seen;
      expect(inner).to.include({ cid: 'cid-1', identity: made.identity, parent: made, channel: 'caller' });
      expect(inner?.headers['x-a']).to.equal('b');
    });
    it('takes the time that was asked for, and never longer than its caller has', async () => {
      const left = any('left', (_, c) => c.remainingMs, { timeoutMs: 5000 });
      const { call } = await open([
        left,
        any('short', (_, c) => c.invoke('left', null), { timeoutMs: 2000 }),
        any('asked', (_, c) => c.invoke('left', null, { timeoutMs: 1000 }), { timeoutMs: 4000 }),
        any('own', (_, c) => c.invoke('left', null), { timeoutMs: 50_000 }),
        any('longer', (_, c) => c.invoke('left', null, { timeoutMs: 60_000 }), { timeoutMs: 3000 }),
      ]);
      const of = async (name: string) => (await call(name)).value as number;
      expect(await of('short')).to.be.within(1001, 2000);
      expect(await of('asked')).to.be.within(1, 1000);
      expect(await of('own')).to.be.within(4000, 5000);
      expect(await of('longer')).to.be.within(2001, 3000);
    });
    it('that times out is an error for the caller, which goes on', async () => {
      const { call } = await open([
        any('slow', () => new Promise(() => {}), { timeoutMs: 10 }),
        any('caller', async (_, c) => [await c.invoke('slow', null).catch((e: GantryError) => e.code), c.aborted]),
      ]);
      expect((await call('caller')).value).to.deep.equal(['CALL_TIMEOUT', false]);
    });
    it('hears that its caller went away, however deep it is', async () => {
      const heard: unknown[] = [];
      let running: () => void = () => {};
      const began = new Promise<void>((resolve) => {
        running = resolve;
      });
      const { run } = await open([
        any('inner', async (_, c) => {
          running();
          await once(c.signal, 'abort');
          heard.push(c.signal.reason);
          return 'over';
        }),
        any('middle', (_, c) => c.invoke('inner', null)),
        any('outer', (_, c) => c.invoke('middle', null)),
      ]);
      const made = new Call('outer', { body: null });
      const reply = run('outer', made);
      await began;
      const reason = new GantryError('CALL_ABORTED', 'The caller went away');
      made.abort(reason);
      await reply;
      expect(heard).to.deep.equal([reason]);
    });
    it('after the caller went away does not run the service any more', async () => {
      let ran = false;
      const { run } = await open([
        any('inner', () => {
          ran = true;
        }),
        any('outer', (_, c) => {
          c.abort(new Error('socket hang up'));
          return c.invoke('inner', null);
        }),
      ]);
      const { error } = await run('outer', new Call('outer', { body: null }));
      expect(ran).to.equal(false);
      expect(error?.code).to.equal('CALL_ABORTED');
      expect(error?.kind).to.equal('timeout');
    });
    it('needs a call that runs', () => {
      expect(() => new Call('a', {}).invoke('b', null)).to.throw(GantryError);
      expect(() => new Call('a', {}).log).to.throw(GantryError);
    });
  });

  describe('abort', () => {
    it('what is no error of ours becomes CALL_ABORTED, with what it was as its cause', () => {
      const hangUp = new Error('socket hang up');
      for (const [given, cause] of [
        [hangUp, hangUp],
        ['text', 'text'],
        [null, null],
        [undefined, undefined],
      ]) {
        const call = new Call('a', {});
        call.abort(given);
        expect(call.aborted).to.equal(true);
        expect(call.signal.reason).to.include({ code: 'CALL_ABORTED', kind: 'timeout' });
        expect((call.signal.reason as Error).cause).to.equal(cause);
      }
      const ours = new GantryError('CALL_TIMEOUT', 'late');
      const call = new Call('a', {});
      const { signal } = call;
      call.abort(ours);
      call.abort(hangUp);
      expect(signal.reason).to.equal(ours);
    });
    it('is heard once by its listeners, and not by those that were undone', () => {
      const call = new Call('a', {});
      const heard: string[] = [];
      const undo = call.onAbort(() => heard.push('undone'));
      call.onAbort(() => heard.push('stays'));
      undo();
      undo();
      call.abort(new Error('gone'));
      call.abort(new Error('again'));
      expect(heard).to.deep.equal(['stays']);
      const late = call.onAbort(() => heard.push('too late'));
      late();
      expect(heard).to.deep.equal(['stays']);
    });
    it('is heard below, with the same reason', () => {
      const call = new Call('a', {});
      const child = call.child();
      const released = call.child();
      call.release(released);
      call.abort('text');
      expect(child.signal.reason).to.equal(call.signal.reason);
      expect(released.aborted).to.equal(false);
      expect(call.child().signal.reason).to.equal(call.signal.reason);
    });
  });

  describe('invokeAsync', () => {
    it('does not wait, and hands the outcome to its callback', async () => {
      const told: unknown[] = [];
      let finish: (value: unknown) => void = () => {};
      const { call, services } = await open([
        any('slow', () => new Promise((resolve) => (finish = resolve))),
        any('fails', () => {
          throw new GantryError('CONFLICT', 'mine', { hint: 'SECRET' });
        }),
        any('back', (input) => void told.push(input)),
        any('caller', (name: string, c) => c.invokeAsync(name, null, { callback: 'back' })),
      ]);
      await call('caller', 'slow', { cid: 'c1' });
      expect([services.background, told.length]).to.deep.equal([1, 0]);
      finish('done');
      await services.settle(1000);
      await call('caller', 'fails', { cid: 'c2' });
      await services.settle(1000);
      expect(told).to.deep.equal([
        { cid: 'c1', service: 'slow', ok: true, value: 'done' },
        { cid: 'c2', service: 'fails', ok: false, error: { code: 'CONFLICT', kind: 'conflict', message: 'mine' } },
      ]);
    });
    it('outlives its caller: neither its end nor its abort is the end', async () => {
      const states: unknown[] = [];
      let go: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        go = resolve;
      });
      const { run, services } = await open([
        any('later', async (_, c) => {
          await gate;
          states.push(c.aborted, c.remainingMs, c.identity?.name);
        }),
        any('caller', (_, c) => c.invokeAsync('later', null), { timeoutMs: 50 }),
      ]);
      const made = new Call('caller', { body: null });
      made.identity = { name: 'ann', roles: [] };
      await run('caller', made);
      made.abort(new Error('gone'));
      go();
      await services.settle(1000);
      expect(states).to.deep.equal([false, Number.POSITIVE_INFINITY, 'ann']);
    });
    it('that fails without a callback is logged; a callback that fails too', async () => {
      const fails = any('fails', () => {
        throw new Error('boom');
      });
      const { call, services, lines } = await open([
        fails,
        any('ok', () => 1),
        any('one', (_, c) => c.invokeAsync('fails', null)),
        any('two', (_, c) => c.invokeAsync('ok', null, { callback: 'fails' })),
      ]);
      for (const name of ['one', 'two']) {
        lines.length = 0;
        await call(name);
        await services.settle(1000);
        expect(
          lines.filter((l) => l.level === 'error'),
          name,
        ).to.have.length(1);
        expect(JSON.stringify(lines)).to.include('boom');
      }
    });
    it('of a service or to a callback that does not exist fails at once', async () => {
      const { call } = await open([
        any('ok', () => 1),
        any('one', (_, c) => c.invokeAsync('nowhere', null)),
        any('two', (_, c) => c.invokeAsync('ok', null, { callback: 'nowhere' })),
      ]);
      for (const name of ['one', 'two']) {
        const { error } = await call(name);
        expect(error, name).to.include({ code: 'INVOCATION_INVALID', kind: 'bug' });
        expect(error?.cause, name).to.include({ code: 'SERVICE_NOT_FOUND' });
        expect(error?.hint, name).to.include("'nowhere'");
      }
    });
    it('with what does not fit is told to the callback, else logged', async () => {
      const told: { error?: object }[] = [];
      const { call, services, lines } = await open([
        typed('whole', Type.Integer(), Type.Unknown(), () => 1),
        any('back', (input) => void told.push(input)),
        any('one', (_, c) => c.invokeAsync('whole', 'x', { callback: 'back' })),
        any('two', (_, c) => c.invokeAsync('whole', 'x')),
      ]);
      for (const name of ['one', 'two']) {
        expect((await call(name)).outcome).to.equal('ok');
        await services.settle(1000);
      }
      expect(told.map((o) => o.error)).to.deep.equal([
        { code: 'INVOCATION_INVALID', kind: 'bug', message: 'The service failed' },
      ]);
      const logged = lines.filter((l) => l.level === 'error');
      expect(logged.map((l) => [l.msg, l.error?.code])).to.deep.equal([
        ['an asynchronous call failed', 'INVOCATION_INVALID'],
      ]);
    });
    it('is waited for when the server stops', async () => {
      let done = false;
      const { call, kernel } = await open([
        any('slow', async () => {
          await pause(30);
          done = true;
        }),
        any('caller', (_, c) => c.invokeAsync('slow', null)),
      ]);
      await call('caller');
      await kernel.stop();
      expect(done).to.equal(true);
    });
  });

  describe('several at once', () => {
    const work = [
      { service: 'wait', input: 30 },
      { service: 'fails', input: null },
      { service: 'wait', input: 1 },
      { service: 'nowhere', input: null },
    ];
    const base = [
      any('wait', async (ms: number) => {
        await pause(ms);
        return ms;
      }),
      any('fails', () => {
        throw new Error('boom');
      }),
    ];
    it('parallel: outcomes in the order of the work, failures among them', async () => {
      const { call } = await open([
        ...base,
        any('caller', async (_, c) => (await c.parallel(work)).map((o) => (o.ok ? o.value : o.error.code))),
      ]);
      const startedAt = performance.now();
      expect((await call('caller')).value).to.deep.equal([30, 'SERVICE_FAILED', 1, 'INVOCATION_INVALID']);
      expect(performance.now() - startedAt).to.be.lessThan(1000);
    });
    it('parallel: of nothing is nothing; each has the time that was asked for', async () => {
      const { call } = await open([
        ...base,
        any('none', (_, c) => c.parallel([])),
        any('timed', async (_, c) =>
          (
            await c.parallel(
              [
                { service: 'wait', input: 5000 },
                { service: 'wait', input: 1 },
              ],
              { timeoutMs: 50 },
            )
          ).map((o) => o.ok),
        ),
      ]);
      expect((await call('none')).value).to.deep.equal([]);
      expect((await call('timed')).value).to.deep.equal([false, true]);
    });
    it('fanOut: each outcome as it comes, then all of them in the order of the work', async () => {
      const each: { service: string; value?: unknown }[] = [];
      const final: { cid: string; outcomes: { ok: boolean; value?: unknown }[] }[] = [];
      const { call, services } = await open([
        ...base,
        any('each', (input) => void each.push(input)),
        any('final', (input) => void final.push(input)),
        any('caller', (_, c) => c.fanOut(work.slice(0, 3), { onEach: 'each', onFinal: 'final' })),
      ]);
      await call('caller', null, { cid: 'c1' });
      expect(final).to.have.length(0);
      await services.settle(2000);
      expect(each.map((e) => e.value ?? e.service)).to.deep.equal(['fails', 1, 30]);
      expect(final).to.have.length(1);
      expect(final[0]?.cid).to.equal('c1');
      expect(final[0]?.outcomes.map((o) => o.value ?? o.ok)).to.deep.equal([30, false, 1]);
    });
    it('fanOut: an onEach that fails is logged, and onFinal comes all the same, after all of the work', async () => {
      const final: unknown[] = [];
      let slow = false;
      const { call, services, lines } = await open([
        any('fast', () => 1),
        any('slow', async () => {
          await pause(20);
          slow = true;
        }),
        any('each', () => {
          throw new Error('full');
        }),
        any('final', () => void final.push(slow)),
        any('caller', (_, c) =>
          c.fanOut([{ service: 'fast' }, { service: 'slow' }], { onEach: 'each', onFinal: 'final' }),
        ),
      ]);
      await call('caller');
      await services.settle(2000);
      expect(slow, 'all of the work is waited for').to.equal(true);
      expect(final).to.deep.equal([true]);
      const told = lines.filter((l) => l.level === 'error');
      expect(told.map((l) => [l.msg, l['service'], l.error?.message])).to.deep.equal([
        ['a callback failed', 'each', 'full'],
        ['a callback failed', 'each', 'full'],
      ]);
    });
    it('fanOut: to a service that does not exist fails at once', async () => {
      const { call } = await open([
        ...base,
        any('one', (_, c) => c.fanOut(work, {})),
        any('two', (_, c) => c.fanOut([], { onFinal: 'nowhere' })),
        any('three', (_, c) => c.fanOut([], { onEach: 'nowhere' })),
      ]);
      for (const name of ['one', 'two', 'three']) {
        const { error } = await call(name);
        expect(error, name).to.include({ code: 'INVOCATION_INVALID', kind: 'bug' });
        expect(error?.cause, name).to.include({ code: 'SERVICE_NOT_FOUND' });
      }
    });
    it('parallel and fanOut with what does not fit: an outcome like others', async () => {
      const final: { outcomes: { ok: boolean; error?: { code: string } }[] }[] = [];
      const some = [
        { service: 'whole', input: 'x' },
        { service: 'whole', input: 1 },
      ];
      const { call, services } = await open([
        typed('whole', Type.Integer(), Type.Unknown(), () => 1),
        any('final', (input) => void final.push(input)),
        any('one', async (_, c) => (await c.parallel(some)).map((o) => (o.ok ? o.value : o.error.code))),
        any('two', (_, c) => c.fanOut(some, { onFinal: 'final' })),
      ]);
      expect((await call('one')).value).to.deep.equal(['INVOCATION_INVALID', 1]);
      await call('two');
      await services.settle(1000);
      expect(final[0]?.outcomes.map((o) => o.error?.code ?? o.ok)).to.deep.equal(['INVOCATION_INVALID', true]);
    });
    it('fanOut without callbacks logs each failure; with one, who is told logs', async () => {
      const { call, services, lines } = await open([
        ...base,
        any('ok', () => 1),
        any('heard', () => null),
        any('none', (_, c) => c.fanOut([{ service: 'fails' }, { service: 'ok' }, { service: 'fails' }], {})),
        any('each', (_, c) => c.fanOut([{ service: 'fails' }], { onEach: 'heard' })),
        any('final', (_, c) => c.fanOut([{ service: 'fails' }], { onFinal: 'heard' })),
      ]);
      const logged = async (name: string) => {
        lines.length = 0;
        await call(name, null, { cid: 'c1' });
        await services.settle(1000);
        return lines
          .filter((l) => l.level === 'error')
          .map((l) => [l.msg, l['service'], l['cid'], l.error?.cause?.message]);
      };
      const failure = ['an asynchronous call failed', 'fails', 'c1', 'boom'];
      expect(await logged('none')).to.deep.equal([failure, failure]);
      expect(await logged('each')).to.deep.equal([]);
      expect(await logged('final')).to.deep.equal([]);
    });
  });

  describe('retry', () => {
    const fast = { backoffMs: 1, maxBackoffMs: 2 };
    /** Fails with a code some times, then answers with the number of tries. */
    const flaky = (
      code: 'BUSY' | 'UNAVAILABLE' | 'TIMEOUT' | 'CONFLICT' | 'INVALID' | 'SERVICE_FAILED',
      times: number,
    ) => {
      let tries = 0;
      const service = any('flaky', () => {
        if (++tries <= times) throw new GantryError(code, 'not now');
        return tries;
      });
      return { service, tries: () => tries };
    };
    const caller = (options: object = fast) => any('caller', (_, c) => c.retry('flaky', null, options));

    for (const code of ['BUSY', 'UNAVAILABLE', 'TIMEOUT'] as const) {
      it(`tries again after ${code}`, async () => {
        const { call } = await open([flaky(code, 2).service, caller()]);
        expect((await call('caller')).value).to.equal(3);
      });
    }
    for (const code of ['CONFLICT', 'INVALID', 'SERVICE_FAILED'] as const) {
      it(`does not try again after ${code}, unless it is told to`, async () => {
        const one = flaky(code, 1);
        const { call, services } = await open([one.service, caller()]);
        expect((await call('caller')).error?.code).to.equal(code);
        expect(one.tries()).to.equal(1);
        const two = flaky(code, 1);
        services.deploy(two.service);
        services.deploy(caller({ ...fast, when: () => true }));
        expect((await call('caller')).value).to.equal(2);
      });
    }
    it('tries as often as it is told, 3 times otherwise, and tells the last failure', async () => {
      for (const [options, expected] of [
        [fast, 3],
        [{ ...fast, attempts: 5 }, 5],
        [{ ...fast, attempts: 1 }, 1],
      ] as const) {
        const one = flaky('BUSY', 99);
        const { call, kernel } = await open([one.service, caller(options)]);
        expect((await call('caller')).error?.code).to.equal('BUSY');
        expect(one.tries()).to.equal(expected);
        await kernel.stop();
      }
    });
    it('of what does not exist or does not fit is tried once', async () => {
      let waits = 0;
      const when = () => {
        waits++;
        return false;
      };
      const { call } = await open([
        typed('whole', Type.Integer(), Type.Unknown(), () => 1),
        any('one', (_, c) => c.retry('nowhere', null, { ...fast, when })),
        any('two', (_, c) => c.retry('whole', 'x', { ...fast, when })),
        any('three', (_, c) => c.retry('whole', 'x', fast)),
      ]);
      for (const [name, cause] of [
        ['one', 'SERVICE_NOT_FOUND'],
        ['two', 'INPUT_INVALID'],
        ['three', 'INPUT_INVALID'],
      ] as const) {
        const { error } = await call(name);
        expect(error, name).to.include({ code: 'INVOCATION_INVALID', retryable: false });
        expect(error?.cause, name).to.include({ code: cause });
      }
      expect(waits).to.equal(2);
    });
    it('waits as long as it was asked to, and gives up where that is longer than it has', async () => {
      let tries = 0;
      const busy = (retryAfterMs: number) =>
        any('flaky', () => {
          tries++;
          throw new GantryError('SERVER_BUSY', 'not now', { retryAfterMs });
        });
      const { call, services } = await open([busy(40), caller({ ...fast, attempts: 2 })]);
      const startedAt = performance.now();
      await call('caller');
      expect(performance.now() - startedAt).to.be.within(38, 1000);
      services.deploy(busy(3_600_000));
      tries = 0;
      expect((await call('caller')).error?.code).to.equal('SERVER_BUSY');
      expect(tries).to.equal(1);
    });
    it('ends when the caller goes away', async () => {
      const { run } = await open([flaky('BUSY', 99).service, caller({ backoffMs: 5000, attempts: 9 })]);
      const made = new Call('caller', { body: null });
      const reply = run('caller', made);
      await turn();
      made.abort(new GantryError('CALL_ABORTED', 'gone'));
      expect((await reply).error?.code).to.equal('CALL_ABORTED');
    });
    it('back-off doubles, with jitter, up to its most', () => {
      for (const [attempt, low, high] of [
        [1, 50, 100],
        [2, 100, 200],
        [5, 800, 1600],
        [50, 5000, 10_000],
      ] as const) {
        const waits = Array.from({ length: 200 }, () => backoffMs(attempt));
        expect(Math.min(...waits)).to.be.at.least(low);
        expect(Math.max(...waits)).to.be.at.most(high);
        expect(new Set(waits).size).to.be.greaterThan(100);
      }
      expect(backoffMs(3, { backoffMs: 10, maxBackoffMs: 15 })).to.be.within(7.5, 15);
    });
    it('pause ends with its time, or with its signal and nothing left behind', async () => {
      const stop = new AbortController();
      await pause(1, stop.signal);
      const waiting = pause(60_000, stop.signal);
      stop.abort(new Error('enough'));
      expect(await waiting.catch((e: Error) => e.message)).to.equal('enough');
      expect(await pause(60_000, stop.signal).catch((e: Error) => e.message)).to.equal('enough');
    });
  });

  describe('files', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'gantry-services-'));
    let count = 0;
    after(() => rmSync(dir, { recursive: true }));
    const folder = (files: Record<string, string>): string => {
      const made = path.join(dir, String(++count), 'shop');
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(path.dirname(path.join(made, name)), { recursive: true });
        writeFileSync(path.join(made, name), text);
      }
      return made;
    };
    const source = (answer: string, more = '') =>
      `import { defineService, Type } from 'gantry/api';
       export default defineService({ ${more} input: Type.Unknown(), output: Type.Unknown(), create: () => () => ${answer} });`;
    const names = async (files: Record<string, string>) =>
      (await loader.services([folder(files)])).map((f) => ('refused' in f ? f.refused.message : f.name));

    it('a service is named by where its file is, or as it says', async () => {
      const found = await names({
        'hello.ts': source('1'),
        'orders/create.ts': source('1'),
        'orders/deep/er.mts': source('1'),
        'plain.js': source('1'),
        'named.ts': source('1', "name: 'other.name',"),
      });
      expect(found).to.have.members([
        'shop.hello',
        'shop.orders.create',
        'shop.orders.deep.er',
        'shop.plain',
        'other.name',
      ]);
    });
    it('a file may be named instead of its folder', async () => {
      const file = path.join(folder({ 'hello.ts': source('1') }), 'hello.ts');
      expect((await loader.services([file])).map((f) => 'name' in f && f.name)).to.deep.equal(['hello']);
    });
    it('what is no service by its name is left alone, and can be imported', async () => {
      const found = await names({
        'a.ts': `import { word } from './_words.ts'; import { deep } from './_inner/deep.ts'; ${source('word + deep')}`,
        '_words.ts': "export const word: string = 'w';",
        '_inner/deep.ts': "export const deep = 'd';",
        '.hidden.ts': 'syntax error(',
        'node_modules/x/index.js': 'syntax error(',
        'a.test.ts': 'syntax error(',
        'types.d.ts': 'declare const x: number;',
        'README.md': '# none',
        'data.json': '{}',
      });
      expect(found).to.deep.equal(['shop.a']);
    });
    it('what it imports beside it is in it, and its place is known to it', async () => {
      const [file] = await loader.services([
        folder({
          'a.ts': `import { defineService, Type } from 'gantry/api'; import { x } from './_x.ts'; import data from './_data.json';
            export default defineService({ input: Type.Unknown(), output: Type.Unknown(), create: () => () => [x, data.y, import.meta.url, __dirname] });`,
          '_x.ts': 'export enum X { A = 7 } export const x = X.A;',
          '_data.json': '{"y": 8}',
        }),
      ]);
      if (file === undefined || !('service' in file)) return expect.fail('refused');
      const handle = file.service.create({} as never) as () => unknown[];
      const place = path.dirname(file.file);
      expect(handle()).to.deep.equal([7, 8, new URL(`file://${file.file}`).href, place]);
    });
    it('a link counts as what it leads to', async () => {
      const target = folder({ 'hello.ts': source('1') });
      const linked = folder({ 'own.ts': source('1') });
      symlinkSync(path.join(target, 'hello.ts'), path.join(linked, 'linked.ts'));
      symlinkSync(path.join(target, 'gone.ts'), path.join(linked, 'dangling.ts'));
      const found = await loader.services([linked]);
      expect(found.map((f) => ('name' in f ? f.name : f.refused.message))).to.have.members(['shop.linked', 'shop.own']);
    });
    it('a folder that is not there is told', async () => {
      const error = await loader.services([path.join(dir, 'nowhere')]).catch((e: GantryError) => e);
      expect(error).to.include({ code: 'CONFIG_UNREADABLE' });
      expect((error as GantryError).message).to.include('nowhere');
      expect(await loader.services([folder({ 'README.md': '' })])).to.deep.equal([]);
      expect(await loader.services([])).to.deep.equal([]);
    });
    it('broken files are refused, each with its path and reason, and the rest is served', async () => {
      const place = folder({
        'good.ts': source("'served'"),
        'syntax.ts': 'export default {{;',
        'throws.ts': "throw new Error('no license'); export default null;",
        'throws-text.ts': "throw 'just text'; export default null;",
        'no-default.ts': 'export const x = 1;',
        'types.ts': 'export interface Order { id: number }',
        'plain.ts': 'export default { input: {}, output: {}, create: () => () => 1 };',
        'import.ts': `import x from './nowhere.ts'; ${source('x')}`,
        'package.ts': `import x from 'no-such-package-here'; ${source('x')}`,
        'schema.ts': source('1').replace('Type.Unknown()', "Type.String({ format: 'none' })"),
        'create.ts': source('1').replace('() => () => 1', '() => 5'),
        'twin.ts': source('1', "name: 'shop.good',"),
        'empty.ts': '',
      });
      const { kernel, lines } = await open([]);
      const refused = kernel.deployFiles(await loader.services([place]));
      expect(kernel.cradle.services.names()).to.deep.equal(['shop.good']);
      const reasons = Object.fromEntries(
        refused.map((e) => [path.basename(e.message.split(': ')[0] as string), e.message]),
      );
      const expected: Record<string, RegExp> = {
        'syntax.ts': /syntax\.ts:1:17/,
        'throws.ts': /no license/,
        'throws-text.ts': /just text/,
        'no-default.ts': /no default export/,
        'types.ts': /no default export/,
        'plain.ts': /defineService/,
        'import.ts': /nowhere\.ts/,
        'package.ts': /no-such-package-here/,
        'schema.ts': /format "none"/,
        'create.ts': /neither a handler/,
        'twin.ts': /'shop\.good'.*good\.ts/,
        'empty.ts': /no default export/,
      };
      expect(Object.keys(reasons)).to.have.members(Object.keys(expected));
      for (const [file, reason] of Object.entries(expected)) expect(reasons[file]).to.match(reason);
      for (const error of refused) {
        expect(error.code).to.equal('SERVICE_FILE_INVALID');
        expect(error.message).to.include(`${place}${path.sep}`);
      }
      expect(lines.filter((l) => l.level === 'error')).to.have.length(refused.length);
    });
    it('a channel of a refused service answers that it is not available', async () => {
      const { kernel, channels } = await open([]);
      kernel.deployFiles(await loader.services([folder({ 'broken.ts': 'export default {{;' })]));
      kernel.bind({ channels: [{ name: 'c', transport: 'direct', address: {}, service: 'shop.broken' }] });
      expect((await channels.get('c')?.run(new Call('c', {})))?.error?.code).to.equal('SERVICE_NOT_DEPLOYED');
    });
    it('the log of a service carries its name, where the file gave it too', async () => {
      const place = folder({
        'quiet.ts': `import { defineService, Type } from 'gantry/api';
          export default defineService({
            input: Type.Unknown(),
            output: Type.Unknown(),
            create: ({ log }) => {
              log.info({}, 'made');
              return () => 1;
            },
          });`,
      });
      const { kernel, lines } = await open([]);
      expect(kernel.deployFiles(await loader.services([place]))).to.deep.equal([]);
      expect(lines.find((l) => l.msg === 'made')).to.include({ service: 'shop.quiet' });
    });
    it('a file that changed is read anew', async () => {
      const place = folder({ 'a.ts': source("'one'") });
      const read = async () => {
        const [file] = await loader.services([place]);
        return file !== undefined && 'service' in file ? (file.service.create({} as never) as () => unknown)() : null;
      };
      expect(await read()).to.equal('one');
      writeFileSync(path.join(place, 'a.ts'), source("'two'"));
      expect(await read()).to.equal('two');
    });
    it('versions of a file leave nothing behind', function () {
      this.timeout(120_000);
      const script = path.resolve(import.meta.dirname, 'reload.mjs');
      const grown = execFileSync(process.execPath, ['--expose-gc', script], { encoding: 'utf8' });
      // A version that is kept costs 40 kB for its table alone.
      expect(Number(grown), 'bytes for each version').to.be.lessThan(30_000);
    });
  });
});
