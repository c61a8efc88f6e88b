/** transport.lines: one JSON line in, one line out, over TCP. This is the whole plugin. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Call, type Channel, definePlugin, GantryError, Type, toFault } from 'gantry/api';

export default definePlugin({
  id: 'transport.lines',
  api: 1,
  config: Type.Object(
    {
      host: Type.String({ default: '127.0.0.1' }),
      port: Type.Integer({ minimum: 0, maximum: 65535, description: '0 picks a free one' }),
      maxLineLength: Type.Integer({ default: 10_000_000, minimum: 1 }),
    },
    { additionalProperties: false },
  ),
  create({ config, log }) {
    const channels = new Map<string, Channel>();
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', (error) => log.warn({ error }, 'a socket failed'));
      let rest = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) answer(line).then((reply) => socket.write(`${reply}\n`));
        if (rest.length > config.maxLineLength) socket.destroy();
      });
    });

    // A line is: <id> TAB <topic> TAB <body>; the reply: <id> TAB <outcome> TAB <body>.
    async function answer(line: string): Promise<string> {
      const [id = '', topic = '', ...body] = line.split('\t');
      const channel = channels.get(topic);
      if (channel === undefined) return `${id}\tmissing\t`;
      const call = new Call(channel.name, { body: body.join('\t') });
      const { outcome, error, body: reply } = await channel.run(call);
      return `${id}\t${outcome}\t${error === null ? (reply ?? '') : JSON.stringify(toFault(error, call.cid))}`;
    }

    return {
      supports: { reply: true, headers: false, largeBody: true },
      address: Type.Object(
        { topic: Type.String({ minLength: 1, pattern: '^[^\\t]+$' }) },
        { additionalProperties: false },
      ),
      bind(channel) {
        const topic = String(channel.address['topic']);
        if (channels.has(topic)) throw new GantryError('CHANNEL_DUPLICATE', `The topic '${topic}' is taken`);
        channels.set(topic, channel);
      },
      unbind: (channel) => void channels.delete(String(channel.address['topic'])),
      port: () => (server.address() as AddressInfo).port,
      start: () =>
        new Promise<void>((resolve, reject) => server.once('error', reject).listen(config.port, config.host, resolve)),
      pause: () => void server.close(),
      stop: async () => sockets.forEach((socket) => void socket.end()),
    };
  },
});
