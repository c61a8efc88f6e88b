import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Call, definePlugin, GantryError, type Reply, type Static, Type } from '../../core/api.ts';
import type { Channel, Endpoint, HttpReply } from '../../core/ports/index.ts';
import { Address, Binding, methodsOf, RestMessage, Settings } from './binding.ts';
import { connect, RestOptions } from './outgoing.ts';
import { checkOptions } from './outgoing-check.ts';

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

    return {
      supports: { reply: true, headers: true, largeBody: true, streams: true },
      address: Address,
      settings: Settings,
      claims: claimsOf,
      options: RestOptions,
      checkOptions: (name, options) => void checkOptions(name, options as Static<typeof RestOptions>, codecs),
      connect: (name, options) => connect(name, options as Static<typeof RestOptions>, { codecs, log }),

      bind(channel: Channel) {
        const binding = new Binding(channel, http, config.maxBodyBytes);
        const { path } = channel.address as Static<typeof Address>;

        /** Hot. */
        async function handle(req: IncomingMessage, params: Readonly<Record<string, string>>): Promise<HttpReply> {
          const message = new RestMessage(binding, req, params);
          const call = new Call(channel.name, message);
          const calls = (req.socket as Watched)[CALLS] ?? watch(req.socket);
          calls.add(call);
          // It may be gone before we hear of it, where a middleware took its time.
          if (req.socket.destroyed) call.abort(gone());
          const reply = await channel.run(call);
          calls.remove(call);
          if (message.upload !== null) release(message.upload, reply.body);
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
  },
});

/** Which names its parameters have makes no other address of a path. */
function claimsOf(address: Readonly<Record<string, unknown>>, verbs: Channel['contract']['verbs']): string[] {
  const { path } = address as Static<typeof Address>;
  const place = path.split('/').map(placeOf).join('/');
  return methodsOf(address, verbs).map((method) => `${method} ${place}`);
}

/** One way to write what the router takes for one segment: `%61` is `a`, and every parameter is `{}`. */
function placeOf(segment: string): string {
  const parameter = /^\{(\*?)[^}]*\}$/.exec(segment);
  if (parameter !== null) return `{${parameter[1]}}`;
  try {
    return encodeURIComponent(decodeURIComponent(segment));
  } catch {
    // The router refuses it.
    return segment;
  }
}

/** The calls that came over a connection. On the socket itself: a WeakMap of them costs the collector 2 us a request. */
const CALLS = Symbol('calls');
interface Watched extends Socket {
  [CALLS]?: Calls;
}

/** Most connections have one call in flight: it needs no set. */
class Calls {
  #first: Call | null = null;
  /** What was pipelined behind the first. */
  #others: Set<Call> | null = null;

  add(call: Call): void {
    if (this.#first === null) this.#first = call;
    else (this.#others ??= new Set()).add(call);
  }
  remove(call: Call): void {
    if (this.#first === call) this.#first = null;
    else this.#others?.delete(call);
  }
  abort(): void {
    this.#first?.abort(gone());
    if (this.#others !== null) for (const call of this.#others) call.abort(gone());
  }
}

/** A caller that goes away ends its calls; one listener for a connection, not one for a request. */
function watch(socket: Watched): Calls {
  const calls = new Calls();
  socket[CALLS] = calls;
  socket.once('close', () => calls.abort());
  return calls;
}

function gone(): GantryError {
  return new GantryError('CALL_ABORTED', 'The caller went away');
}

/** What the service left of an upload is thrown away with its reply, or the next request could not come in. */
function release(upload: Readable, body: Reply['body']): void {
  if (body === null || typeof body === 'string' || body instanceof Uint8Array) upload.destroy();
  else body.once('close', () => upload.destroy());
}

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
