import type { BusEvent } from '../../core/ports/index.ts';

export interface Message {
  readonly event: BusEvent;
  /** The process that published it. */
  readonly sender: string;
}

/** Longer than any that a server writes, whatever its name. */
const LONGEST = 10_000;

export function write({ event, sender }: Message): string {
  const { topic, revision, from } = event;
  return JSON.stringify({ topic, revision, from, sender });
}

/** What was published, or why it cannot be that: anybody may publish there, a later version of us too. */
export function read(text: string): Message | string {
  if (text.length > LONGEST) return `it has ${text.length} characters`;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return 'it is no JSON';
  }
  if (typeof parsed !== 'object' || parsed === null) return 'it is no object';
  const { topic, revision, from, sender } = parsed as Partial<Record<string, unknown>>;
  if (topic !== 'changed' && topic !== 'runs') return 'its topic is not known';
  if (typeof from !== 'string' || typeof sender !== 'string') return 'it does not say whose it is';
  if (!Number.isSafeInteger(revision) || (revision as number) < 0) return 'its revision is none';
  return { event: { topic, revision: revision as number, from }, sender };
}
