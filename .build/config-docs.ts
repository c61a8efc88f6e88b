import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ChannelDefinition } from '../core/calls/channels.ts';
import { ConnectionDefinition } from '../core/calls/connections.ts';
import { SecurityDefinition } from '../core/calls/securities.ts';
import { Config } from '../core/config/root.ts';
import { loader } from '../core/doors.ts';
import type { Loaded } from '../core/kernel/plugin.ts';
import { ownPlugins } from '../core/loading/plugins.ts';
import { Logs } from '../core/log/log.ts';
import { nameOf, PORTS, type Port, portOf } from '../core/ports/table.ts';
import { Process } from '../core/process.ts';

/** What the tables read of a schema. */
interface Node {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly secret?: boolean;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly patternProperties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: boolean | Node;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

/**
 * The reference of config files, docs/configuration.md: a table for the root and for each plugin of this package, made
 * from the schemas that check them. Opens nothing.
 */
export async function configDocs(): Promise<string> {
  const loaded = await ownLoaded();
  const cradle = created(loaded);
  const parts = [
    ...INTRODUCTION,
    '## The root of a file',
    table(Config as unknown as Node),
    '## A channel',
    table(ChannelDefinition as unknown as Node),
    '## A connection',
    table(ConnectionDefinition as Node),
    '## A security definition',
    table(SecurityDefinition as Node),
    '## Plugins',
    'The key of an entry in `plugins`, and what may stand under it beside `use` and `optional`.',
    ...loaded.flatMap((one) => chapter(one, cradle)),
  ];
  return `${parts.join('\n\n')}\n`;
}

type Cradle = Process['cradle'];

async function ownLoaded(): Promise<Loaded[]> {
  return Promise.all(
    ownPlugins().map(async (id) => ({ id, plugin: await loader.plugin(id, process.cwd()), config: {} })),
  );
}

/** Ports whose instances have schemas of their own, and those that they need. */
const WITH_SCHEMAS = new Set<Port>(['codec', 'dialect', 'odb', 'password', 'guard', 'http', 'transport']);

/** Only an instance knows the schemas of addresses and the like. Of a port that takes one plugin, the first is created. */
function created(loaded: readonly Loaded[]): Cradle {
  const taken = new Set<string>();
  const chosen = loaded.filter(({ plugin }) => {
    const port = portOf(plugin.id);
    if (!WITH_SCHEMAS.has(port)) return false;
    if (needsValues(plugin.config as Node) || (!PORTS[port].many && taken.has(port))) return false;
    taken.add(port);
    return true;
  });
  return new Process({ logs: new Logs({ level: 'silent' }) }).create(chosen).cradle;
}

/** Whether an empty block would be refused. */
function needsValues({ required = [], properties = {} }: Node): boolean {
  return required.some((key) => properties[key]?.default === undefined);
}

function chapter({ id, plugin }: Loaded, { transports, guards }: Cradle): string[] {
  const name = nameOf(id);
  const transport = portOf(id) === 'transport' ? transports.get(name) : undefined;
  const guard = portOf(id) === 'guard' ? guards.get(name) : undefined;
  return [
    `### ${id}`,
    table(plugin.config as Node),
    ...part(`A channel's \`address\` where its \`transport\` is \`${name}\``, transport?.address),
    ...part(`A channel's \`settings\` where its \`transport\` is \`${name}\``, transport?.settings),
    ...part(`A connection's \`options\` where its \`transport\` is \`${name}\``, transport?.options),
    ...part(`A channel's \`security\` where its \`guard\` is \`${name}\``, guard?.definition),
  ];
}

function part(title: string, schema: object | undefined): string[] {
  return schema === undefined ? [] : [`${title}:`, table(schema as Node)];
}

function table(schema: Node): string {
  const rows = keysOf(schema, '');
  if (rows.length === 0) return 'It has no keys of its own.';
  return ['| key | type | default | |', '|---|---|---|---|', ...rows].join('\n');
}

/** A row for each key of an object, and below it the rows of what is in it. */
function keysOf({ properties = {}, required = [] }: Node, below: string): string[] {
  return Object.entries(properties).flatMap(([key, node]) => {
    const at = `${below}${key}`;
    const byDefault = defaultOf(node, required.includes(key));
    const cells = [code(at), typeOf(node), byDefault, escaped(node.description ?? '')];
    return [`| ${cells.join(' | ')} |`, ...within(node, at)];
  });
}

/** Of an object, of the objects in a list or a map, and of each form that a union allows. */
function within(node: Node, at: string): string[] {
  if (isToldElsewhere(node)) return [];
  if (node.properties !== undefined) return keysOf(node, `${at}.`);
  if (node.items !== undefined) return within(node.items, `${at}[]`);
  const entry = entryOf(node);
  if (entry !== undefined) return within(entry, `${at}.<name>`);
  return (node.anyOf ?? []).flatMap((branch) => within(branch, at));
}

/** Channels and connections have sections of their own. */
function isToldElsewhere({ items }: Node): boolean {
  return ([ChannelDefinition, ConnectionDefinition] as unknown[]).includes(items);
}

/** What stands under the free names of a map. */
function entryOf({ patternProperties = {}, additionalProperties: rest }: Node): Node | undefined {
  return Object.values(patternProperties)[0] ?? (typeof rest === 'object' ? rest : undefined);
}

function typeOf(node: Node): string {
  const { type, secret, anyOf, items, minLength = 0, pattern } = node;
  if (secret === true) return minLength > 1 ? `secret text, at least ${minLength} long` : 'secret text';
  if (node.const !== undefined) return code(JSON.stringify(node.const));
  if (node.enum !== undefined) return either(node.enum.map((value) => code(JSON.stringify(value))));
  if (anyOf !== undefined) return either([...new Set(anyOf.map(typeOf))]);
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (node.properties !== undefined) return 'object';
  const entry = entryOf(node);
  if (entry !== undefined) return `map of ${typeOf(entry)}`;
  switch (type) {
    case 'integer':
    case 'number':
      return `${type}${range(node)}`;
    case 'string':
      return pattern === undefined ? 'text' : `text, ${code(pattern)}`;
    default:
      return type === undefined ? 'any' : [type].flat().join(' or ');
  }
}

function either(forms: readonly string[]): string {
  return forms.length === 1 ? (forms[0] as string) : `${forms.slice(0, -1).join(', ')} or ${forms.at(-1)}`;
}

function range({ minimum, maximum }: Node): string {
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `, ${minimum} or more`;
  return maximum === undefined ? '' : `, ${maximum} or less`;
}

/** An object whose keys have their own defaults needs none. */
function defaultOf(node: Node, isRequired: boolean): string {
  if (node.default === undefined) return isRequired ? 'required' : '';
  return node.properties === undefined ? code(JSON.stringify(node.default)) : '';
}

/** What has a backtick in it stands between two. */
function code(text: string): string {
  const fence = text.includes('`') ? '``' : '`';
  return `${fence}${text.replaceAll('|', '\\|')}${fence}`;
}
function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}

const INTRODUCTION: readonly string[] = [
  '<!-- Generated from .build/config-docs.ts and the schemas in the code; changes belong there. -->',
  '# Configuration',
  [
    'A process is its config file: `npm start -- --config FILE`, or `gantry start --config FILE` where the package is',
    'installed. Without `--config` it is the file that `GANTRY_CONFIG` names, else `config/default.yaml` of the package.',
    'It is YAML, of which JSON is a part. A key that is not known is an error. Editors complete the file by',
    '[config/schema.json](../config/schema.json), named in its first line:',
    '`# yaml-language-server: $schema=./schema.json`.',
  ].join('\n'),
  '## Layers',
  [
    'Later ones win:',
    '',
    '1. what the schemas have as default, below;',
    '2. the file that `extends` names, with what that one extends in its turn;',
    '3. the file itself;',
    '4. `<file>.local.yaml` beside it (`server.local.yaml` for `server.yaml`), where there is one. It stays out of git, cannot',
    '   have `extends`, and is read only for the file that the process was started with.',
    '',
    'Maps are merged key by key. `channels` and `connections` are merged by `name`: a local file can add one, change a key of',
    'one, or switch one off by `{ name: hello, active: false }`. `services` are added to. Everything else is replaced, other',
    'lists too. `null` removes a key, or a whole list of the layers below.',
    '',
    'Paths are relative to the file in which they stand, also when another file extends it: `extends`, `services`, `use`,',
    '`${file:...}`. Except:',
    '',
    '- `data` is relative to the file that the process was started with; where a reference wrote it (`GANTRY_DATA`), to the',
    '  working folder. Where nothing is said it is the folder `data` beside that file, or beside the folder of that file',
    '  where that is named `config`; for a file in `node_modules`, `data` in the working folder.',
    '- `services` and `use` that begin with `${env:...}` are relative to the file that the process was started with, and so',
    '  are modules that a plugin loads by its own keys, such as Koa middleware.',
  ].join('\n'),
  '## References',
  [
    '| | |',
    '|---|---|',
    '| `${env:NAME}` | The environment variable; an error where it is not set |',
    '| `${env:NAME:-default}` | The default where it is not set or empty |',
    '| `${file:PATH}` | What is in the file, without the line break at its end |',
    '',
    '- They stand in values, also in the middle of one, and not in keys. In a `{ }` of YAML they need quotes.',
    '- A value with a reference takes the type of its key: `port: "${env:PORT:-80}"` is a number, `port: "80"` is text and an error.',
    '- What they put in is not searched for references again. Any other `${...}` is an error.',
    '- Fields marked as secret text, below, are never shown in a log or an error. Write them as references.',
  ].join('\n'),
  '## `use` and `optional`',
  [
    'An entry of `plugins` is `<port>.<name>` and the block of that plugin, which may also have:',
    '',
    '| key | type | default | |',
    '|---|---|---|---|',
    '| `use` | text | the key itself | The module: the id of a plugin of this package, the path of a file (`./lines.ts`) or a folder with an `index.ts`, or an npm package |',
    '| `optional` | boolean | `false` | A failure of its start is a warning, and the rest goes on. A module that is not there and a block that is not valid are still errors |',
    '',
    'With `use` the key is the name of an instance: `transport.rest2: { use: transport.rest }` is a second transport, `rest2`.',
    'Channels and connections name transports, guards and codecs by what follows the dot. More in [plugins.md](plugins.md#loading-it).',
  ].join('\n'),
  '## `check`',
  [
    '```sh',
    'node dist/core/main.js check --config FILE      # in a clone that is built; else: npx gantry check --config FILE',
    '```',
    '',
    'It does what `start` does before it opens anything: reads the layers, loads and creates the plugins, loads the services,',
    'binds the channels. Code of plugins and services runs as far as `create`. It touches no network, lists what is wrong,',
    'each with key, expected, got and a hint, and exits with 1. What only an opened connection could tell, it does not see.',
    'Files, blocks and service files are checked together; channels and connections once those are good. `start` refuses the',
    'same, with one exception: a service file that cannot be used is logged, and the rest is served.',
  ].join('\n'),
];

/** `config-docs.ts [FILE]`: writes the page to the file, or prints it. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , file] = process.argv;
  const text = await configDocs();
  if (file === undefined) process.stdout.write(text);
  else writeFileSync(file, text);
}
