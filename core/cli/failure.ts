import { explain, GantryError, isGantryError } from '../errors.ts';
import { visible } from './display.ts';

/** How a command ends. */
export const EXITS = [
  {
    code: 0,
    name: 'done',
    means: 'it was done; `diff` found no difference, `health`, `connection ping` and each `status` all well',
  },
  {
    code: 1,
    name: 'refused',
    means:
      'what was asked is not valid, in conflict or missing; `diff` found a difference, `health`, `connection ping` or a `status` a problem; a rolling restart failed',
  },
  { code: 2, name: 'wrong usage', means: 'a word or an option is wrong, or a file cannot be read or written' },
  { code: 3, name: 'not available', means: 'the server cannot be reached, does not answer in time, or is busy' },
  { code: 4, name: 'not allowed', means: 'user, password or session is not valid, or the role is not enough' },
] as const;

/** The command line is wrong. */
export function usage(message: string, hint?: string): GantryError {
  return new GantryError('USAGE', message, { kind: 'setup', ...(hint === undefined || hint === '' ? {} : { hint }) });
}

/** By the kind of the error: see EXITS. */
export function exitOf(thrown: unknown): number {
  if (!isGantryError(thrown)) return 1;
  switch (thrown.kind) {
    case 'setup':
      return 2;
    case 'busy':
    case 'timeout':
    case 'unavailable':
      return 3;
    case 'unauthorized':
    case 'forbidden':
      return 4;
    default:
      return 1;
  }
}

/** What the server answered, if it was a problem document (RFC 9457). */
function documentOf(error: GantryError): Readonly<Record<string, unknown>> {
  return typeof error.answer === 'object' && error.answer !== null ? (error.answer as Record<string, unknown>) : {};
}

/** What went wrong, each problem with its place, and what to do: for stderr. Never a stack. */
export function failureText(thrown: unknown): string {
  if (!isGantryError(thrown)) return `gantry: ${visible(thrown instanceof Error ? thrown.message : String(thrown))}\n`;
  const { problems = [], hint } = thrown;
  const { cid } = documentOf(thrown);
  const lines = [
    `gantry: ${headingOf(thrown)}`,
    ...problems.map((problem) => `  ${explain(problem).replaceAll('\n', '\n  ')}`),
    ...(hint === undefined ? [] : [hint]),
    ...(typeof cid === 'string' && thrown.kind === 'bug' ? [`The log of the server has more of call ${cid}.`] : []),
  ];
  return `${visible(lines.join('\n'))}\n`;
}

/** The message, without the problems that are listed below it. */
function headingOf({ message, problems: [first] = [] }: GantryError): string {
  if (first === undefined) return message;
  // The server's path may begin deeper than the client's.
  const told = message.endsWith(first.message) ? message.lastIndexOf(': ') + 1 : message.length;
  const at = message.indexOf(`${first.path} ${first.message}`.trim());
  const heading = message.slice(0, at === -1 ? told : at).trim();
  // What the server says of an input alone is its problems once more.
  if (heading === '' || heading.startsWith('/')) return 'What was given is not valid:';
  return /[.:!?]$/.test(heading) ? heading : `${heading}:`;
}

/** The same for scripts: the problem document of the server, or one of the same shape; `exit` and `hint` are added. */
export function failureJson(thrown: unknown): string {
  const error = isGantryError(thrown)
    ? thrown
    : new GantryError('CLIENT_FAILED', thrown instanceof Error ? thrown.message : String(thrown), { kind: 'bug' });
  const { code, message, problems, hint } = error;
  const told = {
    code,
    detail: message,
    ...documentOf(error),
    ...(problems === undefined ? {} : { errors: problems }),
    ...(hint === undefined ? {} : { hint }),
    exit: exitOf(thrown),
  };
  return `${JSON.stringify(told)}\n`;
}
