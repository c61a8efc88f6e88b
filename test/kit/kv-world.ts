import type { Kv } from '../../core/ports/kv.ts';

/** What the parts of the kv kit have in common. */
export interface KvWorld {
  /** Of two servers; there once the tests run. */
  readonly kv: Kv;
  readonly other: Kv;
  /** A key that no other test, and no other run, uses. */
  fresh(): string;
  until(holds: () => Promise<boolean>): Promise<void>;
  refused(doing: Promise<unknown>, code: string): Promise<void>;
}

/** Longer than any test takes. */
export const LONG_MS = 600_000;
/** Texts that something between here and the store might take for more than texts. */
export const ODD = [
  'zażółć gęślą jaźń',
  '日本語 \u{1f511}',
  '* ? [a-z] [^a] \\ \\* {tag} {} }{',
  ' a\tb\r\nc ',
  '__proto__',
  'constructor',
  '{}',
  '}',
];
