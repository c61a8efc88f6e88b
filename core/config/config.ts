import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Document, parseDocument, visit } from 'yaml';
import { GantryError, type Problem, refuse } from '../errors.ts';
import { keyOf, stepsOf } from '../path.ts';
import { compileConfig } from '../schema/check.ts';
import { settle, Written } from '../schema/settle.ts';
import { Config } from './root.ts';

type Tree = Record<string, unknown>;

export interface ReadOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a config file with its layers: the `extends` chain, the file itself, `<file>.local.yaml` beside it. Maps are
 * merged, channels and connections too, by name; services are added to; everything else is replaced; null removes.
 * `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` are put in last. Throws CONFIG_UNREADABLE or CONFIG_INVALID
 * with all problems.
 */
export function readConfig(file: string, options: ReadOptions = {}): { config: Config; dir: string } {
  const { config, dir, problems } = surveyConfig(file, options);
  refuse(problems);
  return { config, dir };
}

/** A config file as far as it could be read, and all that is wrong with it so far. */
export interface Survey {
  readonly config: Config;
  readonly dir: string;
  readonly problems: readonly Problem[];
  /** Whether its parts have the shapes that a further look at them needs. */
  readonly usable: boolean;
}

/** The same, and tells problems instead of throwing them. Throws only for files that cannot be read or parsed. */
export function surveyConfig(file: string, { env = process.env }: ReadOptions = {}): Survey {
  const absolute = path.resolve(file);
  const dir = path.dirname(absolute);
  const problems: Problem[] = [];
  const layers = [...chain(absolute, []), ...local(absolute)];
  const merged = layers.reduce<Tree>(overlay, {});
  delete merged['extends'];
  const tree = fill(merged, '', { env, problems }) as Tree;
  tree['data'] = dataFolder(tree['data'], dir);
  const { services } = tree;
  if (Array.isArray(services)) tree['services'] = services.map((entry) => folderOf(entry, dir));
  const config = settle(Config, tree) as Config;
  const wrong = compileConfig(Config, 'the config')(config, '', (pointer) => stepsOf(pointer).reduce(below, ''));
  // What a reference could not write is wrong once, not also of the wrong type.
  problems.push(...wrong.filter(({ path }) => !problems.some((p) => p.path === path)));
  const shapeless = wrong.some(({ path }) => /^(plugins|services|log)\b/.test(path));
  return { config, dir, problems, usable: !shapeless };
}

/** Lays one layer over another: maps are merged, everything else is replaced, null removes. */
export function merge(under: unknown, over: unknown): unknown {
  if (!isTree(under) || !isTree(over)) return isTree(over) ? merge({}, over) : over;
  const result: Tree = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (key === '__proto__') throw new GantryError('CONFIG_INVALID', "A config file has a key '__proto__'");
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

/** A layer over another: like merge(), but what has names is added to, and merged by name; services are added to. */
function overlay(under: Tree, over: Tree): Tree {
  const result = merge(under, over) as Tree;
  for (const key of ['channels', 'connections', 'security']) {
    if (Array.isArray(under[key]) && Array.isArray(over[key])) result[key] = byName(under[key], over[key]);
  }
  if (Array.isArray(under['services']) && Array.isArray(over['services'])) {
    result['services'] = [...new Set([...under['services'], ...over['services']])];
  }
  return result;
}

function byName(under: readonly unknown[], over: readonly unknown[]): unknown[] {
  const nameOf = (entry: unknown) => (isTree(entry) ? entry['name'] : undefined);
  const merged = under.map((entry) => {
    const name = nameOf(entry);
    const later = name === undefined ? undefined : over.find((one) => nameOf(one) === name);
    return later === undefined ? entry : merge(entry, later);
  });
  const known = new Set(under.map(nameOf));
  // A second one of a name in one layer stays, for the check to tell.
  const first = new Map([...over].reverse().map((entry) => [nameOf(entry), entry]));
  const isMerged = (entry: unknown) => known.has(nameOf(entry)) && first.get(nameOf(entry)) === entry;
  return [...merged, ...over.filter((entry) => nameOf(entry) === undefined || !isMerged(entry))];
}

/** What an operator gives by a variable is relative to where he stands, everything else to the config file. */
function dataFolder(data: unknown, dir: string): unknown {
  if (data instanceof Written) return data.text === '' ? ownDataFolder(dir) : path.resolve(data.text);
  if (data === undefined || data === '') return ownDataFolder(dir);
  return typeof data === 'string' ? path.resolve(dir, data) : data;
}

/** Where nothing is said. What is in node_modules is gone with the next installation, so not there. */
function ownDataFolder(dir: string): string {
  if (dir.split(path.sep).includes('node_modules')) return path.resolve('data');
  return path.join(path.basename(dir) === 'config' ? path.dirname(dir) : dir, 'data');
}

/** What begins with a reference could not be resolved before that was put in. */
function folderOf(entry: unknown, dir: string): unknown {
  if (entry instanceof Written) return entry.text === '' ? '' : path.resolve(dir, entry.text);
  return entry;
}

function chain(file: string, below: readonly string[]): Tree[] {
  if (below.includes(file)) {
    throw new GantryError('CONFIG_INVALID', `Config files extend each other: ${[...below, file].join(' -> ')}`, {
      hint: 'Remove one "extends".',
    });
  }
  const tree = parse(file, read(file, below.at(-1)));
  const parent = tree['extends'];
  if (parent === undefined || parent === null) return [tree];
  if (typeof parent !== 'string') {
    throw new GantryError('CONFIG_INVALID', `${file}: "extends" must be the path of one file`);
  }
  return [...chain(path.resolve(path.dirname(file), parent), [...below, file]), tree];
}

/** `server.local.yaml` beside `server.yaml`, if there is one. */
function local(file: string): Tree[] {
  const beside = file.replace(/\.ya?ml$/, '.local.yaml');
  if (beside === file) return [];
  if (!existsSync(beside)) return [];
  const tree = parse(beside, read(beside, file));
  if (!('extends' in tree)) return [tree];
  throw new GantryError('CONFIG_INVALID', `${beside}: a local file cannot have "extends"`, {
    hint: `It is laid over ${file} as it is; "extends" belongs there.`,
  });
}

function read(file: string, from: string | undefined): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'is not there' : (cause as Error).message;
    throw new GantryError('CONFIG_UNREADABLE', `The config file ${file} ${reason}`, {
      cause,
      hint: from === undefined ? 'Name another one with --config FILE.' : `It is named by "extends" in ${from}.`,
    });
  }
}

function parse(file: string, text: string): Tree {
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined)
    throw new GantryError('CONFIG_INVALID', `${file} is not valid YAML: ${error.message.trim()}`);
  // A walk over ten thousand channels is worth saving.
  if (text.includes('*')) refuseCircles(document, file);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    // An alias that leads nowhere, or aliases that multiply.
    throw new GantryError('CONFIG_INVALID', `${file} is not valid YAML: ${(cause as Error).message}`, { cause });
  }
  refuseProto(value, file);
  if (isTree(value)) return rooted(value, path.dirname(file), text.includes('${file:'));
  throw new GantryError('CONFIG_INVALID', `${file} must hold a map of settings at its top`);
}

/** Paths are relative to the file that they stand in, whichever file extends it. */
function rooted(tree: Tree, dir: string, names: boolean): Tree {
  const at = (value: unknown) => {
    if (typeof value !== 'string' || value === '' || value.startsWith('${')) return value;
    if (!value.includes('${')) return path.resolve(dir, value);
    return path.isAbsolute(value) ? value : `${dir}/${value}`;
  };
  const files = (value: unknown): unknown => {
    if (typeof value === 'string') {
      return value.replace(/\$\{file:([^}]*)\}/g, (_, name: string) => `\${file:${path.resolve(dir, name)}}`);
    }
    if (Array.isArray(value)) return value.map(files);
    return isTree(value) ? Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, files(entry)])) : value;
  };
  const result = (names ? files(tree) : tree) as Tree;
  const { services, plugins, secrets } = result;
  if (isTree(secrets) && 'file' in secrets) secrets['file'] = at(secrets['file']);
  if (Array.isArray(services)) result['services'] = services.map(at);
  for (const block of isTree(plugins) ? Object.values(plugins) : []) {
    if (isTree(block) && typeof block['use'] === 'string' && /^\.{1,2}(\/|$)/.test(block['use']))
      block['use'] = at(block['use']);
  }
  return result;
}

/** Laying layers over each other copies what aliases stand for, and a circle would have no end. */
function refuseCircles(document: Document, file: string): void {
  visit(document, {
    Alias(_, alias, above) {
      const target = alias.resolve(document);
      if (target === undefined || !above.includes(target)) return;
      throw new GantryError('CONFIG_INVALID', `${file}: the YAML alias *${alias.source} stands for itself`);
    },
  });
}

function refuseProto(value: unknown, file: string): void {
  if (typeof value !== 'object' || value === null) return;
  if (Object.hasOwn(value, '__proto__')) throw new GantryError('CONFIG_INVALID', `${file} has a key '__proto__'`);
  for (const entry of Object.values(value)) refuseProto(entry, file);
}

interface Filling {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly problems: Problem[];
}

const REFERENCE = /\$\{(env|file):([^}]*)\}/g;

function fill(value: unknown, at: string, to: Filling): unknown {
  if (Array.isArray(value)) return value.map((entry, i) => fill(entry, `${at}[${i}]`, to));
  if (isTree(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, fill(entry, below(at, key), to)]));
  }
  if (typeof value !== 'string' || !value.includes('${')) return value;
  let found = false;
  const text = value.replace(REFERENCE, (whole, kind: string, argument: string) => {
    found = true;
    return kind === 'env' ? fromEnv(argument, whole, at, to) : fromFile(argument, whole, at, to);
  });
  const strange = /\$\{[^{}]*[:}]/.exec(value.replace(REFERENCE, ''));
  if (strange !== null) {
    to.problems.push({
      path: at,
      message: 'has a reference of an unknown kind',
      expected: '${env:NAME}, ${env:NAME:-default} or ${file:PATH}',
      got: strange[0].slice(0, 60),
    });
  }
  return found ? new Written(text, value) : value;
}

/** A plugin's id needs no quotes: it always has one dot. */
function below(at: string, key: string): string {
  if (at === 'plugins') return `plugins.${key}`;
  return `${at}${keyOf([key])}`.replace(/^\./, '');
}

function fromEnv(argument: string, whole: string, at: string, { env, problems }: Filling): string {
  const split = argument.indexOf(':-');
  const name = split === -1 ? argument : argument.slice(0, split);
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value !== undefined && (value !== '' || split === -1)) return value;
  if (split !== -1) return argument.slice(split + 2);
  problems.push({
    path: at,
    message: `needs the environment variable ${name}, which is not set`,
    got: whole,
    hint: `Set ${name}, or give a default: \${env:${name}:-default}.`,
  });
  return '';
}

function fromFile(file: string, whole: string, at: string, { problems }: Filling): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    problems.push({
      path: at,
      message: `needs the file ${file}, which cannot be read (${(error as NodeJS.ErrnoException).code})`,
      got: whole,
      hint: 'Paths are relative to the config file; the file must be readable by this process.',
    });
    return '';
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Written);
}
