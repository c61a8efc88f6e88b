import { connect } from 'node:net';
import { testTransport } from 'gantry/kit';
import lines from './index.ts';

testTransport({
  plugin: lines,
  config: { port: 0 },
  address: (n) => ({ topic: `topic-${n}` }),
  async connect(transport) {
    const socket = connect((transport as unknown as { port(): number }).port(), '127.0.0.1');
    const waiting = new Map<string, (reply: { outcome: string; body: string }) => void>();
    let rest = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const [id = '', outcome = '', ...body] of lines.map((line) => line.split('\t'))) {
        waiting.get(id)?.({ outcome, body: body.join('\t') });
        waiting.delete(id);
      }
    });
    let last = 0;
    return {
      send: (address, body) =>
        new Promise((resolve) => {
          const id = String(++last);
          waiting.set(id, resolve);
          socket.write(`${id}\t${String(address['topic'])}\t${body}\n`);
        }),
      close: async () => void socket.destroy(),
    };
  },
});
