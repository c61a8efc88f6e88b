import { connect } from 'node:net';
import { GantryError } from 'gantry/api';

const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Asks one of HAProxy's sockets and gives the answer as it is. `;` stands between commands. Rejects with BALANCER_FAILED
 * where nobody answers.
 */
export function ask(socket: string, command: string, timeoutMs = 5000): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    // HAProxy of 2.6 waits for more until we have ended our side.
    const connection = connect(socket, () => connection.end(`${command}\n`));
    const fail = (why: string, cause?: unknown) => {
      connection.destroy();
      const hint = `Look whether it runs, and into its log. The socket is ${socket}.`;
      reject(new GantryError('BALANCER_FAILED', `HAProxy does not answer: ${why}`, { cause, hint }));
    };
    connection.setTimeout(timeoutMs, () => fail(`nothing came for ${timeoutMs} ms`));
    connection.on('error', (error) => fail(error.message, error));
    connection.on('data', (data) => {
      parts.push(data);
      if ((bytes += data.length) > MOST_BYTES) fail(`it said more than ${MOST_BYTES} bytes`);
    });
    connection.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
  });
}
