import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import {
  Call,
  type Channel,
  definePlugin,
  type Endpoint,
  GantryError,
  type HttpReply,
  type Static,
  Type,
} from '../../core/api.ts';
import { Address, Binding, RestMessage, Settings } from './binding.ts';
import { connect, RestOptions } from './outgoing.ts';

export default definePlugin({
  id: 'transport.rest',
  api: 1,
  config: Type.Object(
    {
      maxBodyBytes: Type.Integer({
        default: 1_048_576,
        minimum: 0,
        description: 'After decompression; for each channel',
      }),
    },
    { additionalProperties: false },
  ),
  needs: ['http', 'codecs'],
  create({ config, http, codecs, log }) {
    const bound = new Map<string, { binding: Binding; undo: () => void }>();
    const inHand = new WeakMap<Socket, Set<Call>>();

    return {
      supports: { reply: true, headers: true, largeBody: true, streams: true },
      address: Address,
      settings: Settings,
      options: RestOptions,
      connect: (name, options) => connect(name, options as Static<typeof RestOptions>, { codecs, log }),

      bind(channel: Channel) {
        const binding = new Binding(channel, http, config.maxBodyBytes);
        const { path } = channel.address as Static<typeof Address>;

        /** Hot. */
        async function handle(req: IncomingMessage, params: Readonly<Record<string, string>>): Promise<HttpReply> {
          const call = new Call(channel.name, new RestMessage(binding, req, params));
          const calls = inHand.get(req.socket) ?? watch(req.socket);
          calls.add(call);
          const reply = await channel.run(call);
          calls.delete(call);
          return binding.reply(req, call, reply);
        }
        const undo = http.route({
          owner: channel.name,
          methods: binding.methods,
          path,
          handle,
          ...(binding.cors === null ? {} : { preflight: binding.cors.preflight }),
        });
        bound.set(channel.name, { binding, undo });
      },
      unbind(channel: Channel) {
        bound.get(channel.name)?.undo();
        bound.delete(channel.name);
      },
      endpoints() {
        const [url = ''] = http.urls();
        return [...bound.values()].flatMap(({ binding }) => endpoints(binding, url));
      },
    };

    /** A caller that goes away ends its calls; one listener for a connection, not one for a request. */
    function watch(socket: Socket): Set<Call> {
      const calls = new Set<Call>();
      inHand.set(socket, calls);
      socket.once('close', () => {
        for (const call of calls) call.abort(new GantryError('CALL_ABORTED', 'The caller went away'));
      });
      return calls;
    }
  },
});

function endpoints({ channel, methods }: Binding, url: string): Endpoint[] {
  const { path } = channel.address as Static<typeof Address>;
  const { example } = channel.contract;
  return methods.map((method) => {
    const address = `${method} ${url}${path}`;
    if (example === undefined || method !== 'POST' || path.includes('{')) return { channel: channel.name, address };
    const body = JSON.stringify(example).replaceAll("'", "'\\''");
    return {
      channel: channel.name,
      address,
      example: `curl -s -d '${body}' -H 'content-type: application/json' ${url}${path}`,
    };
  });
}
