import { expect } from 'chai';
import type { ChannelDefinition } from '../../core/calls/channels.ts';
import type { Plugin } from '../../core/cradle.ts';
import { loader } from '../../core/doors.ts';
import { GantryError } from '../../core/errors.ts';
import type { Loaded } from '../../core/kernel/plugin.ts';
import { Logs } from '../../core/log/log.ts';
import { nameOf } from '../../core/ports/table.ts';
import type { Transport } from '../../core/ports/transport.ts';
import { Process } from '../../core/process.ts';
import { defineService, Type } from './service.ts';

/** The outside of the transport: what another application would use to call it. */
export interface TransportClient {
  /** Sends a body to an address and gives how it ended ('ok' or an error's kind) and the body that came back. */
  send(
    address: Record<string, unknown>,
    body: string,
    headers?: Record<string, string>,
  ): Promise<{ readonly outcome: string; readonly body: string }>;
  close(): Promise<void>;
}

export interface TransportUnderTest {
  readonly plugin: unknown;
  readonly config: Record<string, unknown>;
  /** Other plugins that it needs: id -> config block. */
  readonly with?: Readonly<Record<string, Record<string, unknown>>>;
  /** The n-th of many different addresses. */
  address(n: number): Record<string, unknown>;
  connect(instance: Transport & Record<string, unknown>, kernel: Process): Promise<TransportClient>;
}

/** What every transport that receives must do. Skips only what its own `supports` declares absent. */
export function testTransport(under: TransportUnderTest): void {
  const plugin = under.plugin as Plugin;
  const name = nameOf(plugin.id);

  describe(`the transport contract: ${plugin.id}`, () => {
    const gates: (() => void)[] = [];
    let held: (() => void) | null = null;
    const services = [
      defineService({ name: 'kit.echo', input: Type.Any(), output: Type.Any(), create: () => (input) => input }),
      defineService({
        name: 'kit.who',
        input: Type.Any(),
        output: Type.Any(),
        create: () => (_, call) => ({ channel: call.channel }),
      }),
      defineService({
        name: 'kit.strict',
        input: Type.Object({ n: Type.Integer() }),
        output: Type.Any(),
        create: () => (input) => input,
      }),
      defineService({
        name: 'kit.crash',
        input: Type.Any(),
        output: Type.Any(),
        create: () => () => {
          throw new Error('a secret detail');
        },
      }),
      defineService({
        name: 'kit.slow',
        input: Type.Any(),
        output: Type.Any(),
        create: () => async (input) => {
          await new Promise<void>((resolve) => {
            gates.push(resolve);
            held?.();
          });
          return input;
        },
      }),
      defineService({
        name: 'kit.header',
        input: Type.Any(),
        output: Type.Any(),
        create: () => (_, call) => ({ header: call.headers['x-kit'] ?? null }),
      }),
      defineService({
        name: 'kit.refuse',
        input: Type.Any(),
        output: Type.Any(),
        create: () => () => {
          throw new GantryError('FORBIDDEN', 'Not you');
        },
      }),
      defineService({
        name: 'kit.late',
        input: Type.Any(),
        output: Type.Any(),
        create: () => () => new Promise(() => {}),
      }),
    ];
    const channel = (n: number, service: string, more: object = {}): ChannelDefinition => ({
      name: `c${n}`,
      transport: name,
      address: under.address(n),
      service: `kit.${service}`,
      ...more,
    });
    const channels = [
      channel(1, 'echo'),
      channel(2, 'who'),
      channel(3, 'strict'),
      channel(4, 'crash'),
      channel(5, 'slow'),
      channel(6, 'header'),
      channel(7, 'refuse'),
      channel(8, 'late', { timeoutMs: 50 }),
    ];
    let kernel: Process;
    let transport: Transport & Record<string, unknown>;
    let client: TransportClient;

    const wired = async (): Promise<Process> => {
      const others = Object.entries({ 'codec.json': {}, ...under.with });
      const loaded: Loaded[] = await Promise.all(
        others.map(async ([id, config]) => ({ id, config, plugin: await loader.plugin(id, process.cwd()) })),
      );
      const logs = new Logs({ level: 'silent' });
      return new Process({ logs, graceMs: 5000 }).create([
        ...loaded,
        { id: plugin.id, plugin, config: { ...under.config } },
      ]);
    };

    before(async () => {
      kernel = (await wired()).deploy(services);
      transport = kernel.cradle.transports.get(name) as Transport & Record<string, unknown>;
      await kernel.start({ channels });
      client = await under.connect(transport, kernel);
    });
    after(async () => {
      await client.close();
      await kernel.stop();
    });

    const send = (n: number, body: unknown, headers?: Record<string, string>) =>
      client.send(under.address(n), JSON.stringify(body), headers);

    it('carries a call in and its reply out', async () => {
      expect(await send(1, { a: 1 })).to.deep.equal({ outcome: 'ok', body: '{"a":1}' });
    });
    it('keeps the body as it is', async () => {
      const odd = { text: 'zażółć \u0000 \u2028 😀', nested: [[], {}, null] };
      expect(JSON.parse((await send(1, odd)).body)).to.deep.equal(odd);
    });
    it("tells a caller's error from the server's", async () => {
      expect((await send(3, { n: 'x' })).outcome).to.equal('invalid');
      expect((await send(7, {})).outcome).to.equal('forbidden');
      expect((await send(4, {})).outcome).to.equal('bug');
    });
    it('tells the code and the id of a failure, and nothing of its cause', async () => {
      const { body } = await send(4, {});
      const fault = JSON.parse(body) as { code: string; cid: string };
      expect(fault.code).to.equal('SERVICE_FAILED');
      expect(fault.cid).to.match(/\S/);
      expect(body).not.to.contain('secret detail');
    });
    it('tells where the input is wrong', async () => {
      const fault = JSON.parse((await send(3, { n: 'x' })).body) as { errors: { path: string }[] };
      expect(fault.errors[0]?.path).to.equal('/n');
    });
    it('refuses a malformed body', async () => {
      expect((await client.send(under.address(1), '{"a":')).outcome).to.equal('invalid');
    });
    it('refuses an address that nobody bound', async () => {
      expect((await send(99, {})).outcome).to.equal('missing');
    });
    it('answers when the service takes too long', async () => {
      expect((await send(8, {})).outcome).to.equal('timeout');
    });
    it('serves a channel that is bound while it runs, and no longer when it is unbound', async () => {
      kernel.cradle.channels.bind(channel(20, 'echo'));
      expect((await send(20, 1)).outcome).to.equal('ok');
      kernel.cradle.channels.unbind('c20');
      expect((await send(20, 1)).outcome).to.equal('missing');
      kernel.cradle.channels.bind(channel(20, 'who'));
      expect((await send(20, 1)).body).to.equal('{"channel":"c20"}');
      kernel.cradle.channels.unbind('c20');
    });
    it('never mixes channels or replies under load', async () => {
      const all = await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? send(1, { i }) : send(2, {}))));
      for (const [i, { body }] of all.entries()) {
        expect(JSON.parse(body)).to.deep.equal(i % 2 ? { i } : { channel: 'c2' });
      }
    });
    it('refuses a wrong address, and two channels at one', () => {
      const bound = kernel.cradle.channels;
      const wrong = { ...channel(30, 'echo'), address: { nonsense: true } };
      expect(() => bound.bind(wrong))
        .to.throw()
        .with.property('code', 'CHANNEL_INVALID');
      const taken = { ...channel(31, 'echo'), address: under.address(1) };
      expect(() => bound.bind(taken))
        .to.throw()
        .with.property('code', 'CHANNEL_DUPLICATE');
    });
    it('serves the first of two that want one address', async () => {
      expect((await send(1, 1)).outcome).to.equal('ok');
    });
    it('passes headers on', async function () {
      if (!transport.supports.headers) return this.skip();
      expect(JSON.parse((await send(6, {}, { 'x-kit': 'yes' })).body)).to.deep.equal({ header: 'yes' });
    });
    it('carries a body of 512 KiB', async function () {
      if (!transport.supports.largeBody) return this.skip();
      const big = { text: 'x'.repeat(512 * 1024) };
      expect((await send(1, big)).body.length).to.equal(JSON.stringify(big).length);
    });
    it('answers the call in hand before stop() resolves', async () => {
      const begun = new Promise<void>((resolve) => {
        held = resolve;
      });
      const answer = send(5, { late: true });
      await begun;
      let stopped = false;
      const stopping = kernel.stop().then(() => {
        stopped = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(stopped, 'stop() resolved with a call in hand').to.equal(false);
      for (const open of gates) open();
      expect(await answer).to.deep.equal({ outcome: 'ok', body: '{"late":true}' });
      await client.close();
      await stopping;
    });
    it('can be stopped twice, and without having been started', async () => {
      await kernel.stop();
      const idle = await wired();
      await idle.stop();
    });
  });
}
