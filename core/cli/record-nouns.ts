/** What can be done to every kind of record. */
import type { Reference } from '../ports/odb.ts';
import type { Definition, RecordView, Saved } from '../records/record.ts';
import { columnsOf, type Listed } from './columns.ts';
import type { Command, Noun, Option, Verb } from './command.ts';
import { assign, type Content, changesOf, readContent } from './content.ts';
import { newPassword } from './credentials.ts';
import { localTime } from './display.ts';
import { usage } from './failure.ts';
import { type KnownKind, ROLES } from './kinds.ts';
import { PAGING, type Page, readPages, restOf } from './pages.ts';
import { type Column, table } from './table.ts';
import { writeYaml } from './yaml.ts';

/** What a definition is made of. */
export const CONTENT: readonly Option[] = [
  { name: 'file', short: 'f', value: 'FILE', does: 'fields from a YAML or JSON file; - is stdin' },
  {
    name: 'set',
    value: 'KEY=VALUE',
    many: true,
    does: 'one field, e.g. address.path=/a or methods[0]=GET; read as YAML',
  },
  { name: 'set-string', value: 'KEY=TEXT', many: true, does: 'one field, a text as it is' },
];
const VERSION: Option = { name: 'version', value: 'N', does: 'the version that it must have' };
const ROLE: Option = { name: 'role', value: 'ROLE', does: `what the user may do: ${ROLES.join(', ')}` };
export const NEW_PASSWORD: Option = {
  name: 'new-password-file',
  value: 'FILE',
  does: 'the new password; default GANTRY_NEW_PASSWORD, or a prompt',
};

/** The verbs of one kind of record; those that only it has come after. */
export function recordNoun({ name: kind, description, fields }: KnownKind, ...more: readonly Verb[]): Noun {
  const verbs = [list(kind, fields), get(kind), create(kind), update(kind), remove(kind), usedBy(kind)];
  return { name: kind, does: description, verbs: [...verbs, ...more] };
}

/** Where the API has `toggle`. */
export function switches(kind: string): readonly Verb[] {
  return [
    { name: 'enable', does: `switches a ${kind} on`, words: 'NAME', run: (command) => toggle(kind, command, true) },
    { name: 'disable', does: `switches a ${kind} off`, words: 'NAME', run: (command) => toggle(kind, command, false) },
  ];
}

interface Listing extends Page<RecordView> {
  readonly fixtures?: readonly Definition[];
}

/** What lists of a kind take. */
export function listing(fields: readonly string[]): readonly Option[] {
  const filters: readonly Option[] =
    fields.length === 0
      ? []
      : [{ name: 'filter', value: 'FIELD=VALUE', many: true, does: `only those: ${fields.join(', ')}` }];
  return [
    { name: 'search', value: 'TEXT', does: 'a part of the name' },
    ...filters,
    { name: 'sort', value: 'FIELD', does: ['by name, changedAt', ...fields].join(', ') },
    { name: 'descending', does: 'the last first' },
    ...PAGING,
  ];
}

function list(kind: string, fields: readonly string[]): Verb {
  return {
    name: 'list',
    does: `those that there are`,
    options: listing(fields),
    async run({ client, options, screen }) {
      const filter = filterOf(options.all('filter'));
      const query = {
        ...(options.has('search') ? { search: options.text('search') } : {}),
        ...(filter === null ? {} : { filter }),
        ...(options.has('sort') ? { sort: options.text('sort') } : {}),
        ...(options.has('descending') ? { descending: true } : {}),
      };
      const answer = await readPages<Listing>(client, `${kind}.list`, query, options);
      await screen.show(
        answer,
        (page) => listed(kind, rowsOf(page), screen.width),
        (page) =>
          rowsOf(page)
            .map(({ definition }) => `${definition.name}\n`)
            .join(''),
      );
      const rest = restOf(answer.value);
      if (rest !== null) await screen.note(rest);
    },
  };
}

function rowsOf({ items, fixtures = [] }: Listing): readonly Listed[] {
  const records = items.map((record): Listed => ({ definition: record.definition, record }));
  return [...records, ...fixtures.map((definition): Listed => ({ definition, record: null }))];
}

function listed(kind: string, rows: readonly Listed[], width: number | null): string {
  return rows.length === 0 ? `There is no ${kind}.\n` : table(columnsOf(kind), rows, width);
}

/** Throws USAGE. Null where there is none. */
export function filterOf(given: readonly string[]): Record<string, string> | null {
  const pairs = given.map((text) => {
    const at = text.indexOf('=');
    if (at <= 0) throw usage(`--filter ${text} must be field=value`, 'E.g. --filter active=true.');
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return pairs.length === 0 ? null : Object.fromEntries(pairs);
}

function get(kind: string): Verb {
  return {
    name: 'get',
    does: 'one of them, as YAML that `update -f` takes; secrets are `***`',
    words: 'NAME',
    async run({ client, screen, words: [name = ''] }) {
      const answer = await client.call<RecordView>(`${kind}.get`, { name }, { reads: true });
      if (screen.json) return screen.data(`${answer.text}\n`);
      const { definition, version, changedAt, changedBy } = answer.value;
      const about = `${kind} '${name}', version ${version}, changed by ${changedBy} at ${localTime(changedAt)}`;
      await screen.data(writeYaml(definition, screen.quiet ? '' : about));
    },
  };
}

function create(kind: string): Verb {
  return {
    name: 'create',
    does: 'makes one',
    words: '[NAME]',
    options: [...CONTENT, ...(kind === 'user' ? [ROLE, NEW_PASSWORD] : [])],
    async run(command) {
      const content = await contentOf(kind, command);
      const name = nameOf(kind, command, content);
      const definition: Record<string, unknown> = { name, ...assign(content.file, content.sets) };
      if (kind === 'user' && definition['password'] === undefined && definition['passwordHash'] === undefined) {
        definition['password'] = await newPassword(command.terminal, command.options, name);
      }
      await saved(command, await command.client.call<Saved>(`${kind}.create`, { ...definition, name }), 'created');
    },
  };
}

function update(kind: string): Verb {
  return {
    name: 'update',
    does: 'changes the fields that are given, and no others; null takes one away',
    words: '[NAME]',
    options: [...CONTENT, ...(kind === 'user' ? [ROLE] : []), VERSION],
    async run(command) {
      const { client, options } = command;
      const content = await contentOf(kind, command);
      const name = nameOf(kind, command, content);
      const { file, sets } = content;
      if (Object.keys(file).every((key) => key === 'name') && sets.length === 0) {
        throw usage(`What is to be changed of the ${kind} '${name}'?`, 'Give --set KEY=VALUE, or --file FILE.');
      }
      const { value } = await client.call<RecordView>(`${kind}.get`, { name }, { reads: true });
      const changes = changesOf(content, value.definition);
      const version = options.integer('version', 1) ?? value.version;
      await saved(command, await client.call<Saved>(`${kind}.update`, { name, version, changes }), 'updated');
    },
  };
}

function remove(kind: string): Verb {
  return {
    name: 'delete',
    does: 'removes one, unless something refers to it',
    words: 'NAME',
    options: [VERSION],
    async run(command) {
      const { client, options, words } = command;
      const version = options.integer('version', 1);
      const input = { name: words[0], ...(version === undefined ? {} : { version }) };
      await saved(command, await client.call<Saved>(`${kind}.remove`, input), 'deleted');
    },
  };
}

function usedBy(kind: string): Verb {
  return {
    name: 'usage',
    does: 'which records refer to one',
    words: 'NAME',
    async run({ client, screen, words: [name = ''] }) {
      const answer = await client.call<{ usedBy: readonly Reference[] }>(`${kind}.usage`, { name }, { reads: true });
      const columns: readonly Column<Reference>[] = [
        { title: 'KIND', of: (one) => one.kind },
        { title: 'NAME', of: (one) => one.name },
      ];
      await screen.show(
        answer,
        ({ usedBy: all }) => (all.length === 0 ? `Nothing refers to it.\n` : table(columns, all, screen.width)),
        ({ usedBy: all }) => all.map((one) => `${one.kind} ${one.name}\n`).join(''),
      );
    },
  };
}

async function toggle(kind: string, command: Command, active: boolean): Promise<void> {
  const { client, words } = command;
  const [name] = words;
  const { value } = await client.call<RecordView>(`${kind}.get`, { name }, { reads: true });
  const answer = await client.call<Saved>(`${kind}.toggle`, { name, version: value.version, active });
  await saved(command, answer, active ? 'enabled' : 'disabled');
}

/** An administrator gives another user a password. */
export async function setPassword(command: Command): Promise<void> {
  const { client, terminal, options, words } = command;
  const [name = ''] = words;
  const { value } = await client.call<RecordView>('user.get', { name }, { reads: true });
  const password = await newPassword(terminal, options, name);
  const changes = { password };
  const answer = await client.call<Saved>('user.update', { name, version: value.version, changes });
  await saved(command, answer, 'given a new password');
}

/** What some kinds tell of a change beside. */
interface More {
  /** ISO 8601. */
  readonly next?: readonly string[];
  readonly warnings?: readonly string[];
}

/** Tells what became of a change: `done`, e.g. created. */
export async function saved(
  { screen }: Command,
  answer: { readonly value: Saved & More; readonly text: string },
  done: string,
): Promise<void> {
  const { live, problem, next = [], warnings = [] } = answer.value;
  await screen.show(answer, ({ kind, name, version }) => {
    const times = next.map((time) => `  ${localTime(time)}\n`).join('');
    const told = `The ${kind} '${name}' was ${done}${version === 0 ? '' : ` (version ${version})`}.\n`;
    return times === '' ? told : `${told}It runs next at\n${times}`;
  });
  if (!live && problem !== undefined) await screen.warn(`it is saved, and not in effect on this server: ${problem}`);
  for (const warning of warnings) await screen.warn(warning);
}

/** Throws USAGE for a password among the arguments, where other users of the machine can see it. */
async function contentOf(kind: string, { options, terminal }: Command): Promise<Content> {
  const { file, sets } = await readContent(options, terminal);
  if (kind !== 'user') return { file, sets };
  if (sets.some(({ path }) => path[0] === 'password')) {
    throw usage(
      'A password is no argument: others can see those',
      'Set GANTRY_NEW_PASSWORD, or name a file with --new-password-file; gantry user password NAME changes one.',
    );
  }
  const role = options.text('role');
  return { file, sets: role === undefined ? sets : [...sets, { path: ['role'], value: role, told: 'role' }] };
}

/** Throws USAGE where there is none, or there are two. */
function nameOf(kind: string, { words }: Command, { file, sets }: Content): string {
  const set = sets.findLast(({ path }) => path.length === 1 && path[0] === 'name');
  const others = [file['name'], set?.value].filter((one) => one !== undefined);
  const [name = words[0] ?? others[0]] = words;
  if (typeof name !== 'string' || name === '') throw usage(`The ${kind} has no name`, 'Give it after the verb.');
  const other = others.find((one) => one !== name);
  if (other === undefined) return name;
  throw usage(
    `The ${kind} is named '${name}' and ${JSON.stringify(other)}`,
    'A record keeps its name: give one of the two.',
  );
}
