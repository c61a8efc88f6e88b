import { Client } from 'undici';
import { PASSWORD } from './gantry.ts';

/** A call of the admin API. */
export interface AdminCall {
  /** Without the `gantry.` before it. */
  readonly service: string;
  readonly input: object;
}

/** How an administrator shows who it is: by its password with each call. */
export const BASIC = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;

/** One keep-alive connection to the admin API, with one call at a time. */
export class Administrator {
  readonly #client: Client;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(port: number, authorization = BASIC) {
    this.#client = new Client(`http://127.0.0.1:${port}`, { headersTimeout: 0, bodyTimeout: 0 });
    this.#headers = { authorization, 'content-type': 'application/json' };
  }

  /** Rejects with what was answered instead of 200. */
  async call<T>({ service, input }: AdminCall): Promise<T> {
    const { statusCode, body } = await this.#client.request({
      path: `/gantry/admin/gantry.${service}`,
      method: 'POST',
      headers: this.#headers,
      body: JSON.stringify(input),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${service} answered ${statusCode}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as T;
  }

  /** Gives what to send as `authorization` instead of the password. */
  async logIn(): Promise<string> {
    const { token } = await this.call<{ token: string }>({ service: 'session.create', input: { minutes: 1440 } });
    return `Bearer ${token}`;
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }
}
