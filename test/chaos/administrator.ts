export const PASSWORD = 'password-of-chaos';

export interface Said {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Asks the admin API of one process. */
export class Administrator {
  readonly #url: string;
  readonly #authorization = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;

  constructor(url: string) {
    this.#url = url;
  }

  /** `service` without the `gantry.` before it. Rejects where there is no answer. */
  async ask(service: string, input: object = {}, withinMs = 30_000): Promise<Said> {
    const response = await fetch(`${this.#url}/gantry/admin/gantry.${service}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: this.#authorization },
      body: JSON.stringify(input),
      signal: AbortSignal.timeout(withinMs),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
  }

  /** Rejects with what was answered instead of 200. */
  async call<T = Readonly<Record<string, unknown>>>(service: string, input: object = {}): Promise<T> {
    const { status, body } = await this.ask(service, input);
    if (status !== 200) throw new Error(`${service} answered ${status}: ${JSON.stringify(body).slice(0, 1000)}`);
    return body as T;
  }
}
