import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * When a connection is cut: at a COMMIT before or after it has reached the server, or at what comes earlier; or not cut,
 * but held, as that of a server that is frozen.
 */
type Cut = 'none' | 'before' | 'after' | 'begin' | 'key' | 'lease' | 'hold';

/** Stands between an odb and its database: passes everything on, and cuts the connection where it is told. */
export async function between(port: number) {
  const state = { cut: 'none' as Cut, cuts: 0, commits: 0, times: Number.POSITIVE_INFINITY };
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
    const end = () => {
      state.cuts++;
      if (--state.times === 0) state.cut = 'none';
      client.destroy();
      upstream.destroy();
    };
    let [swallow, held] = [false, false];
    client.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (text.includes('COMMIT;')) state.commits++;
      if (held || (state.cut === 'hold' && /INSERT INTO .gantry_runs/.test(text))) {
        if (!held) state.cuts++;
        held = true;
        return;
      }
      if (state.cut === 'begin' && text.includes('START TRANSACTION')) return end();
      if (state.cut === 'key' && text.includes('INSERT INTO "gantry_effects"')) return end();
      if (state.cut === 'before' && text.includes('COMMIT;')) return end();
      // The answer to it never arrives.
      swallow = state.cut === 'after' && text.includes('COMMIT;');
      if (state.cut === 'lease') swallow = /(UPDATE|DELETE FROM) "gantry_leases"/.test(text);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => (swallow ? end() : client.write(chunk)));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { state, port: (server.address() as { port: number }).port, close };
}
