/** The client: `gantry <noun> <verb>` administers a running server over its admin API. */
import { didYouMean } from '../errors.ts';
import { type Asked, readArguments } from './arguments.ts';
import { AdminClient } from './client.ts';
import type { Noun } from './command.ts';
import { Credentials } from './credentials.ts';
import { exitOf, failureJson, failureText, usage } from './failure.ts';
import { docsText, helpText, nounHelp, verbHelp } from './help.ts';
import { type KnownKind, kindsOf } from './kinds.ts';
import { NOUNS } from './nouns.ts';
import type { Options } from './options.ts';
import { recordNoun, switches } from './record-nouns.ts';
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
  const { noun, verb, words, options, help } = await asked(argv, terminal, version);
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
  const { client, credentials } = connected(options, terminal, version);
  const screen = new Screen(terminal, { json: options.has('json'), quiet: options.has('quiet') });
  return (await verb.run({ words, options, client, credentials, screen, terminal })) ?? 0;
}

function connected(options: Options, terminal: Terminal, version: string) {
  const credentials = new Credentials(terminal, options);
  const url = options.text('url') ?? (terminal.env['GANTRY_URL'] || URL);
  return { credentials, client: new AdminClient({ url, credentials, timeoutMs: timeoutOf(options), version }) };
}

/** What the command line asks for. A noun that the client does not know may be a kind that a plugin of the server brings. */
async function asked(argv: readonly string[], terminal: Terminal, version: string): Promise<Asked> {
  try {
    return readArguments(argv, NOUNS);
  } catch (unknown) {
    const name = argv.find((word) => word !== 'help' && /^[a-z][a-z0-9-]*$/.test(word));
    const own = NOUNS.map((noun) => noun.name);
    // Near a command of ours it is a slip of the fingers, and no server is asked.
    if (name === undefined || own.includes(name) || didYouMean(name, own) !== '') throw unknown;
    const kind = await broughtKind(name, argv, terminal, version);
    if (kind === undefined) throw unknown;
    return readArguments(argv, [...NOUNS, nounOf(kind)]);
  }
}

/** Asks the server. Whatever fails, such a kind is not known. */
async function broughtKind(
  name: string,
  argv: readonly string[],
  terminal: Terminal,
  version: string,
): Promise<KnownKind | undefined> {
  const any: KnownKind = { name, description: '', keys: [], fields: [], portable: true };
  const nouns = [...NOUNS, nounOf({ ...any, fields: ['active'] })];
  const read = () => {
    try {
      return readArguments(argv, nouns);
    } catch {
      // A verb that is wrong is reported when the kind is known; the environment says where to ask.
      return readArguments([name, 'list'], nouns);
    }
  };
  try {
    const { options } = read();
    return (await kindsOf(connected(options, terminal, version).client)).find((one) => one.name === name);
  } catch {
    return undefined;
  }
}

function nounOf(kind: KnownKind): Noun {
  return recordNoun(kind, ...(kind.fields.includes('active') ? switches(kind.name) : []));
}

/** Throws USAGE. The longest is a day: a timer for much longer fires at once. */
function timeoutOf(options: Options): number | null {
  const text = options.text('timeout');
  if (text === undefined) return null;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds > 0 && seconds <= 86_400) return Math.ceil(seconds * 1000);
  throw usage(`--timeout must be seconds, more than 0 and at most 86400, not '${text}'`);
}
