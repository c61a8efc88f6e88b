import type { Option } from './command.ts';

/** The commands that are about a process and its config file, not a client of one that runs. */
export const PROCESS = [
  { name: 'start', does: 'run the process that the config file describes (the default)' },
  { name: 'check', does: 'tell everything that is wrong with the config; no network is touched' },
  { name: 'schema', does: 'print the JSON schema of config files, with --docs the reference; --out FILE writes it' },
] as const;

export const USAGE = `Usage: gantry <command> [--config FILE]

${PROCESS.map(({ name, does }) => `  ${name.padEnd(6)}   ${does}\n`).join('')}
  --config FILE   default: config/default.yaml of this package
  --install       start: installs programs that are missing (npm run cluster; as root, on Debian)

  help     tell the commands that administer a running server
`;

/** What every command takes. */
export const EVERYWHERE: readonly Option[] = [
  { name: 'url', value: 'URL', does: 'the server; default GANTRY_URL, or http://127.0.0.1:11223' },
  { name: 'user', value: 'NAME', does: 'who asks; default GANTRY_USER, or admin' },
  { name: 'password-file', value: 'FILE', does: "the user's password; default GANTRY_PASSWORD, or a prompt" },
  {
    name: 'timeout',
    value: 'SECONDS',
    does: 'how long an answer is waited for; default 60, for whole configurations 310',
  },
  { name: 'json', does: "the API's own answer; errors as JSON, too" },
  { name: 'quiet', short: 'q', does: 'names only, or nothing' },
  { name: 'help', short: 'h', does: 'tells how it is used' },
];

/** Whether a command line is for the client: it begins with a word that is not `own`, or with one of its options. */
export function isForClient([first]: readonly string[], own: readonly string[]): boolean {
  if (first === undefined || first === '') return false;
  if (!first.startsWith('-')) return !own.includes(first);
  return EVERYWHERE.some(
    ({ name, short }) => name !== 'help' && (first.split('=')[0] === `--${name}` || first === `-${short}`),
  );
}
