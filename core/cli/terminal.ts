import { GantryError } from '../errors.ts';

/** What a command reads from and writes to: those of the process, or of a test. */
export interface Terminal {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; setRawMode?(on: boolean): unknown };
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Resolves when it is written. Rejects where it cannot be (a full disk); a reader that went away is no failure. */
export function write(to: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (text === '') return resolve();
    const done = (error?: NodeJS.ErrnoException | null) => {
      const code = error?.code ?? '';
      if (error === undefined || error === null || /^(EPIPE|ERR_STREAM_DESTROYED)$/.test(code)) resolve();
      else reject(new GantryError('OUTPUT_FAILED', `The output cannot be written (${code})`, { kind: 'setup' }));
    };
    try {
      to.write(text, done);
    } catch (thrown) {
      // Files are written at once.
      done(thrown as NodeJS.ErrnoException);
    }
  });
}

/** Everything that stands on stdin, as UTF-8. */
export async function readAll(stdin: NodeJS.ReadableStream): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stdin) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString('utf8');
}

/**
 * Asks for a line that is not shown. Ctrl-C ends the process as it would without a prompt; an end of input without a
 * line is an empty answer.
 */
export function askHidden({ stdin, stderr }: Terminal, question: string): Promise<string> {
  // In this order: what is typed at once is not shown either.
  stdin.setRawMode?.(true);
  stdin.resume();
  stderr.write(question);
  return new Promise((resolve) => {
    let line = '';
    const end = () => {
      stdin.off('data', hear);
      stdin.setRawMode?.(false);
      stdin.pause();
      stderr.write('\n');
    };
    const hear = (part: Buffer | string) => {
      // What is pasted comes in one piece, with its line ends.
      const keys = [...part.toString()];
      for (const [i, key] of keys.entries()) {
        if (key === '\u0003') {
          end();
          process.kill(process.pid, 'SIGINT');
          return;
        }
        if (key === '\r' || key === '\n' || key === '\u0004') {
          end();
          if (i < keys.length - 1) stdin.unshift(keys.slice(i + 1).join(''));
          resolve(line);
          return;
        }
        if (key === '\u007f' || key === '\b') line = [...line].slice(0, -1).join('');
        else if (key === '\u0015') line = '';
        else if (key >= ' ') line += key;
      }
    };
    stdin.on('data', hear);
  });
}
