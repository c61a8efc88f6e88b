import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** One call, as HAProxy logged it. */
export interface Logged {
  readonly id: string;
  /** Of the backend, the last one that was tried; `<NOSRV>` where it reached none. */
  readonly server: string;
  /** -1: none was sent. */
  readonly status: number;
  /** How it ended: https://docs.haproxy.org/2.6/configuration.html#8.5. */
  readonly termination: string;
  readonly retries: number;
  /** The last retry went to another server. */
  readonly isElsewhere: boolean;
}

/** As haproxy/haproxy.cfg.template has it. */
const LINE =
  /(?<server>\S+) [-+\d]+\/[-+\d]+\/[-+\d]+\/[-+\d]+\/[-+\d]+ (?<status>-?\d+) \+?\d+ (?<termination>\S{4}) \d+\/\d+\/\d+\/\d+\/(?<retries>\+?\d+) \d+\/\d+ (?<id>\S+) \S+ "/;
const BUFFER_BYTES = 8 * 1024 * 1024;

/** A syslog server for HAProxy: what it says of each call, also while nobody looks after it. */
export class BalancerLog {
  readonly #socket: Socket;
  #lines: string[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (line) => this.#lines.push(line.toString('utf8')));
  }

  static async open(): Promise<BalancerLog> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER_BYTES });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new BalancerLog(socket);
  }

  /** host:port. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** The calls of a run; what was before it is forgotten. */
  of(run: string): readonly Logged[] {
    const lines = this.#lines;
    this.#lines = [];
    return lines.flatMap((line) => {
      const { server = '', status, termination = '', retries = '', id = '' } = LINE.exec(line)?.groups ?? {};
      if (!id.startsWith(`${run}-`)) return [];
      const isElsewhere = retries.startsWith('+');
      const own = { id, server: server.slice(server.indexOf('/') + 1), termination, isElsewhere };
      return [{ ...own, status: Number(status), retries: Number(retries.replace('+', '')) }];
    });
  }

  close(): void {
    this.#socket.close();
  }
}
