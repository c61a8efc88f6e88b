/** The load balancer, by the API of its agent. */
import { GantryError, isGantryError, type Problem } from '../errors.ts';
import type { BalancedStatus } from '../ports/balancer.ts';
import type { RecordView } from '../records/record.ts';
import type { Command, Option, Verb } from './command.ts';
import { assign, readContent, readText } from './content.ts';
import { localTime } from './display.ts';
import { usage } from './failure.ts';
import { PAGING, type Page, readPages, restOf } from './pages.ts';
import { type Column, table } from './table.ts';

interface Status {
  readonly agent: string;
  readonly running: boolean;
  readonly halted: boolean;
  readonly pid: number | null;
  readonly version: string | null;
  readonly startedAt: string | null;
  readonly reloads: number;
  readonly crashes: number;
  readonly problem: string | null;
  readonly servers: readonly BalancedStatus[];
  readonly settings: number | null;
  readonly applied: { readonly at: string; readonly how: string; readonly why: readonly string[] } | null;
  readonly refused: { readonly at: string; readonly message: string; readonly problems: readonly Problem[] } | null;
  readonly failing: { readonly since: string; readonly message: string } | null;
  readonly store: string | null;
  readonly database: string | null;
}
interface Line {
  readonly revision: number;
  readonly version: number;
  readonly action: string;
  readonly changedAt: string;
  readonly changedBy: string;
}
interface Saved {
  readonly version: number;
  readonly revision: number;
}

const SERVERS: readonly Column<BalancedStatus>[] = [
  { title: 'SERVER', of: ({ name }) => name },
  { title: 'ADDRESS', of: ({ address }) => address },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'UP', of: ({ up }) => up },
  { title: 'WEIGHT', of: ({ weight }) => weight },
  { title: 'IN HAND', of: ({ sessions }) => sessions },
  { title: 'QUEUED', of: ({ queued }) => queued },
  { title: 'CALLS', of: ({ calls }) => calls },
  { title: 'ERRORS', of: ({ errors }) => errors },
  { title: 'RETRIES', of: ({ retries }) => retries },
  { title: 'CHECK', of: ({ check }) => check },
];
const HISTORY: readonly Column<Line>[] = [
  { title: 'REVISION', of: ({ revision }) => revision },
  { title: 'TIME', of: ({ changedAt }) => localTime(changedAt) },
  { title: 'BY', of: ({ changedBy }) => changedBy },
  { title: 'ACTION', of: ({ action }) => action },
  { title: 'VERSION', of: ({ version }) => (version === 0 ? null : version) },
];
const CANDIDATE: readonly Option[] = [
  {
    name: 'file',
    short: 'f',
    value: 'FILE',
    does: 'all settings, YAML or JSON as `balancer get main` has them; - is stdin',
  },
  { name: 'set', value: 'KEY=VALUE', many: true, does: 'one setting, e.g. timeouts.serverMs=90000; read as YAML' },
  { name: 'set-string', value: 'KEY=TEXT', many: true, does: 'one setting, a text as it is' },
  { name: 'template', value: 'FILE', does: 'the whole configuration of the program, with its placeholders' },
  { name: 'usual', does: 'the usual template again' },
];
const VERSION: Option = { name: 'version', value: 'N', does: 'the version that the record must have' };

export const balancerVerbs: readonly Verb[] = [
  {
    name: 'status',
    does: 'its servers and its process; exits with 1 where something is wrong',
    async run({ client, screen }) {
      const answer = await client.call<Status>('balancer.status', {}, { reads: true });
      await screen.show(
        answer,
        (status) => statusText(status, screen.width),
        ({ servers }) => servers.map(({ name }) => `${name}\n`).join(''),
      );
      return troubles(answer.value).length === 0 ? 0 : 1;
    },
  },
  {
    name: 'source',
    does: 'the configuration that the program works with',
    async run({ client, screen }) {
      const answer = await client.call<{ text: string }>('balancer.source', {}, { reads: true });
      await screen.data(screen.json ? `${answer.text}\n` : answer.value.text);
    },
  },
  {
    name: 'check',
    does: 'what the program finds wrong with settings, or a template; exits with 1 where that is something',
    options: CANDIDATE,
    async run(command) {
      const { client, screen } = command;
      const { input } = await candidateOf(command);
      const answer = await client.call<{ problems: readonly Problem[] }>('balancer.check', input, { reads: true });
      const { problems } = answer.value;
      if (problems.length > 0 && !screen.json) throw refused(problems);
      await screen.show(answer, () => 'The program would take this.\n');
      return problems.length === 0 ? 0 : 1;
    },
  },
  {
    name: 'apply',
    does: 'keeps settings, or a template, that the program takes, and has it work with them',
    options: [...CANDIDATE, VERSION],
    async run(command) {
      const { client, options, screen } = command;
      const { input, version: read } = await candidateOf(command);
      const version = options.integer('version', 1) ?? read;
      const answer = await client.call<Saved>('balancer.apply', {
        ...input,
        ...(version === undefined ? {} : { version }),
      });
      await screen.show(answer, savedText);
    },
  },
  {
    name: 'history',
    does: 'earlier settings, the newest first; --json has what they were',
    options: PAGING,
    async run({ client, options, screen }) {
      const answer = await readPages<Page<Line>>(client, 'balancer.history', {}, options);
      await screen.show(
        answer,
        ({ items }) =>
          items.length === 0 ? 'The settings were never changed.\n' : table(HISTORY, items, screen.width),
        ({ items }) => items.map(({ revision }) => `${revision}\n`).join(''),
      );
      const rest = restOf(answer.value);
      if (rest !== null) await screen.note(rest);
    },
  },
  {
    name: 'rollback',
    does: 'goes back to the settings of a revision of the history',
    words: 'REVISION',
    async run({ client, screen, words: [text = ''] }) {
      if (!/^[1-9]\d*$/.test(text)) throw usage(`The revision must be a whole number, not '${text}'`);
      await screen.show(await client.call<Saved>('balancer.rollback', { revision: Number(text) }), savedText);
    },
  },
  {
    name: 'show',
    does: 'what the program answers: info, stat, sess or errors',
    words: 'WHAT',
    async run({ client, screen, words: [what] }) {
      const answer = await client.call<{ text: string }>('balancer.show', { what }, { reads: true });
      await screen.show(answer, ({ text }) => text.replace(/\n*$/, '\n'));
    },
  },
  told('start', 'starts the program where it does not run'),
  told('stop', 'ends the program: no calls come in until it is started'),
  told('reload', 'has the program read its configuration again, without losing a call'),
];

function told(name: string, does: string): Verb {
  return {
    name,
    does,
    async run({ client, screen }) {
      const answer = await client.call<{ running: boolean }>(`balancer.${name}`, {});
      await screen.show(answer, ({ running }) => (running ? 'It runs.\n' : 'It does not run.\n'));
    },
  };
}

interface Candidate {
  readonly input: { readonly settings?: unknown; readonly template?: string | null };
  /** The one that --set was laid over. */
  readonly version: number | undefined;
}

/** Throws USAGE where nothing is given. */
async function candidateOf(command: Command): Promise<Candidate> {
  const { options, terminal } = command;
  const { file, sets } = await readContent(options, terminal);
  const isWhole = options.has('file');
  if (options.has('template') && options.has('usual')) throw usage('--template and --usual contradict each other');
  const template = options.text('template');
  const given = options.has('usual')
    ? { template: null }
    : template === undefined
      ? {}
      : { template: (await readText(template, terminal)).text };
  if (!isWhole && sets.length === 0) {
    if (!('template' in given))
      throw usage('What is to be applied?', 'Give --file FILE, --set KEY=VALUE or --template FILE.');
    return { input: given, version: undefined };
  }
  const present = isWhole ? null : await presentOf(command);
  const { name: _, template: own, ...settings } = assign(isWhole ? file : (present?.definition ?? {}), sets);
  const kept = isWhole && typeof own === 'string' ? { template: own } : {};
  return { input: { settings, ...kept, ...given }, version: present?.version };
}

async function presentOf({ client }: Command): Promise<RecordView | null> {
  try {
    return (await client.call<RecordView>('balancer.get', { name: 'main' }, { reads: true })).value;
  } catch (thrown) {
    if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND') return null;
    throw thrown;
  }
}

function refused(problems: readonly Problem[]): GantryError {
  return new GantryError('BALANCER_REFUSED', 'The program does not take this:', { problems });
}

function savedText({ version, revision }: Saved): string {
  return version === 0
    ? `The settings are those of the config again (revision ${revision}).\n`
    : `The settings were changed (version ${version}, revision ${revision}).\n`;
}

function statusText(status: Status, width: number | null): string {
  const { agent, running, halted, pid, version, startedAt, reloads, crashes, servers, settings, applied } = status;
  const rows = servers.length === 0 ? 'There is no server.\n' : table(SERVERS, servers, width);
  const state = running
    ? `runs since ${localTime(startedAt)}, process ${pid}`
    : halted
      ? 'was stopped'
      : 'does not run';
  return [
    `${rows}\n`,
    `The program (${version ?? 'unknown release'}) ${state}; ${reloads} reloads, ${crashes} crashes.\n`,
    `The agent ${agent} works with ${settings === null ? 'the settings of its config' : `version ${settings} of the settings`}.\n`,
    ...(applied === null
      ? []
      : [`Changed last at ${localTime(applied.at)} (${applied.how}): ${applied.why.join('; ')}.\n`]),
    ...troubles(status).map((line) => `${line}\n`),
  ].join('');
}

function troubles({ running, problem, refused: no, failing, store, database }: Status): string[] {
  return [
    ...(running ? [] : ['No calls come in.']),
    ...(problem === null ? [] : [problem]),
    ...(no === null
      ? []
      : [`Settings were refused: ${no.problems.map(({ message }) => message).join('; ') || no.message}`]),
    ...(failing === null ? [] : [`It cannot be changed since ${localTime(failing.since)}: ${failing.message}`]),
    ...(store === null ? [] : [`Who is there cannot be asked: ${store}`]),
    ...(database === null ? [] : [`The records may be old: ${database}`]),
  ];
}
