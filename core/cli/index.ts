/** The client: `gantry <noun> <verb>` administers a running server over its admin API. */
import { readArguments } from './arguments.ts';
import { AdminClient } from './client.ts';
import { Credentials } from './credentials.ts';
import { exitOf, failureJson, failureText, usage } from './failure.ts';
import { docsText, helpText, nounHelp, verbHelp } from './help.ts';
import { NOUNS } from './nouns.ts';
import type { Options } from './options.ts';
import { Screen } from './screen.ts';
import { type Terminal, write } from './terminal.ts';

const URL = 'http://127.0.0.1:11223';

/** Runs one command line, without `gantry`; gives the exit code. Never rejects. */
export async function runClient(argv: readonly string[], terminal: Terminal, version: string): Promise<number> {
  try {
    return await run(argv, terminal, version);
  } catch (thrown) {
    // Where the command line itself is wrong, it may still have said how errors are to be told.
    const json = argv.includes('--json');
    await write(terminal.stderr, json ? failureJson(thrown) : failureText(thrown)).catch(() => {});
    return exitOf(thrown);
  }
}

async function run(argv: readonly string[], terminal: Terminal, version: string): Promise<number> {
  const { noun, verb, words, options, help } = readArguments(argv, NOUNS);
  if (noun === null || verb === null || help) {
    const text =
      noun === null
        ? options.has('docs')
          ? docsText(NOUNS)
          : helpText(NOUNS)
        : verb === null
          ? nounHelp(noun)
          : verbHelp(noun, verb);
    await write(terminal.stdout, text);
    return 0;
  }
  const credentials = new Credentials(terminal, options);
  const url = options.text('url') ?? (terminal.env['GANTRY_URL'] || URL);
  const client = new AdminClient({ url, credentials, timeoutMs: timeoutOf(options), version });
  const screen = new Screen(terminal, { json: options.has('json'), quiet: options.has('quiet') });
  return (await verb.run({ words, options, client, credentials, screen, terminal })) ?? 0;
}

/** Throws USAGE. The longest is a day: a timer for much longer fires at once. */
function timeoutOf(options: Options): number | null {
  const text = options.text('timeout');
  if (text === undefined) return null;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds > 0 && seconds <= 86_400) return Math.ceil(seconds * 1000);
  throw usage(`--timeout must be seconds, more than 0 and at most 86400, not '${text}'`);
}
