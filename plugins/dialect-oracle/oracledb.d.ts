/** Of the driver, what is used here; the package brings no types. */
declare module 'oracledb' {
  export interface Connection {
    /** Longest wait for the answer of one call, in ms. */
    callTimeout: number;
    execute(sql: string): Promise<unknown>;
    close(options?: { readonly drop: boolean }): Promise<void>;
    isHealthy(): boolean;
  }
  const driver: object;
  export default driver;
}
