/** What the reporter in a process of tests sends to the runner: see reporter.cjs. */
export type Event =
  | { readonly type: 'file'; readonly file: string }
  | { readonly type: 'test' }
  | { readonly type: 'result'; readonly result: Result }
  | { readonly type: 'cost'; readonly file: string; readonly ms: number; readonly cpuMs: number }
  | { readonly type: 'end' };

export interface Result {
  readonly file: string;
  readonly title: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** Of a failure: the error with its stack. */
  readonly error?: string;
}
