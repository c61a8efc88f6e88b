import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { DelayProxy } from './delay-proxy.ts';

/** Waits are measured from below only: a busy machine makes them longer. */
const DELAY_MS = 150;
/** Timers of Node may fire a little early. */
const EARLY_MS = 2;

describe('a proxy that delays', () => {
  let echo: Server;
  let proxy: DelayProxy;
  let client: Socket;
  let heard: string;
  let came: string;
  let listener: (() => void) | null;
  /** How many connections of the server have ended in order. */
  let ended = 0;

  beforeEach(async () => {
    [heard, came, ended, listener] = ['', '', 0, null];
    // Ends its side when the other one has.
    echo = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('end', () => ended++);
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as { port: number };
    proxy = await DelayProxy.open({
      host: '127.0.0.1',
      port,
      hear: (_connection, bytes) => (heard += bytes.toString()),
    });
    client = createConnection(proxy.port, proxy.host);
    client.on('error', () => {});
    client.on('data', (bytes: Buffer) => {
      came += bytes.toString();
      listener?.();
    });
    await once(client, 'connect');
  });
  afterEach(async () => {
    client.destroy();
    await proxy.close();
    echo.close();
  });

  const until = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (came !== text) return;
        listener = null;
        resolve();
      };
      listener = look;
      look();
    });
  const timed = async (work: () => Promise<void>) => {
    const from = performance.now();
    await work();
    return performance.now() - from;
  };

  it('hands on what both say, and lets somebody hear what the program says', async () => {
    client.write('one');
    await until('one');
    client.write('two');
    await until('onetwo');
    expect(heard).to.equal('onetwo');
    expect(proxy.size).to.equal(1);
  });

  for (const [name, delays, least] of [
    ['to the server', { toServerMs: DELAY_MS }, DELAY_MS],
    ['from the server', { toClientMs: DELAY_MS }, DELAY_MS],
    ['both ways', { toServerMs: DELAY_MS, toClientMs: DELAY_MS }, 2 * DELAY_MS],
  ] as const) {
    it(`delays what goes ${name}`, async () => {
      proxy.delay(delays);
      client.write('one');
      expect(await timed(() => until('one'))).to.be.at.least(least - EARLY_MS);
    });
  }

  it('keeps the order when the delay becomes less', async () => {
    proxy.delay({ toServerMs: DELAY_MS });
    client.write('one');
    // The proxy has it when it has heard it.
    while (heard !== 'one') await new Promise((resolve) => setImmediate(resolve));
    proxy.delay({});
    client.write('two');
    await until('onetwo');
  });

  it('stands still, with its connections open, and goes on with all that waited', async () => {
    proxy.stall();
    client.write('one');
    const other = createConnection(proxy.port, proxy.host);
    await once(other, 'connect');
    // As long as a hundred answers would take.
    await new Promise((resolve) => setTimeout(resolve, DELAY_MS));
    expect([came, heard, client.destroyed]).to.deep.equal(['', 'one', false]);
    proxy.flow();
    await until('one');
    other.destroy();
  });

  it('breaks every connection, and takes new ones', async () => {
    client.write('one');
    await until('one');
    const gone = once(client, 'close');
    proxy.cut();
    await gone;
    expect(proxy.size).to.equal(0);
    const again = createConnection(proxy.port, proxy.host);
    again.write('more');
    const [bytes] = await once(again, 'data');
    expect(String(bytes)).to.equal('more');
    again.destroy();
  });

  for (const delays of [{ toServerMs: DELAY_MS }, { toClientMs: DELAY_MS }]) {
    it(`hands on the end, after all that was said before (${Object.keys(delays)})`, async () => {
      proxy.delay(delays);
      const over = once(client, 'close');
      client.end('last');
      await over;
      expect([came, ended]).to.deep.equal(['last', 1]);
    });
  }

  it('breaks where the server is not there', async () => {
    const { port } = echo.address() as { port: number };
    client.destroy();
    echo.close();
    await once(echo, 'close');
    const nobody = await DelayProxy.open({ host: '127.0.0.1', port });
    const lost = createConnection(nobody.port, nobody.host);
    lost.on('error', () => {});
    await once(lost, 'close');
    await nobody.close();
  });
});
