/** Of the driver, what is used here; the package brings no types. */
declare module 'pg' {
  export class Client {
    constructor(config: Readonly<Record<string, unknown>>);
    connect(): Promise<void>;
    query(sql: string): Promise<{ rows: Record<string, unknown>[] }>;
    end(): Promise<void>;
    on(event: 'error', listener: (error: Error) => void): this;
  }
  const driver: { readonly Client: typeof Client };
  export default driver;
}
