/**
 * The house as the code has it: files, the arrows of their imports, rooms and floors. `npm run house` prints it, for
 * another checkout with `npm run house -- FOLDER`; test/architecture.test.ts holds the code to its rules.
 */
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Node, parseSync, Visitor } from 'oxc-parser';

export interface Import {
  readonly specifier: string;
  /** The file that it names (from the root, with '/'), or the specifier of a package. */
  readonly target: string;
  /** It is gone when the file runs. */
  readonly typeOnly: boolean;
}

export interface Source {
  readonly lines: number;
  readonly imports: readonly Import[];
  /** What its classes extend, as written. */
  readonly parents: readonly string[];
  /** Whether it ends the process or listens to its signals. */
  readonly exits: boolean;
  /** What definePlugin() is given as its id. */
  readonly pluginId: string | null;
}

/** By path, from the root and with '/'. */
export type House = ReadonlyMap<string, Source>;
export type Edges = ReadonlyMap<string, ReadonlySet<string>>;

const ENTRIES: Readonly<Record<string, string>> = {
  'gantry/api': 'core/api.ts',
  'gantry/ports': 'core/ports/index.ts',
  'gantry/parts': 'core/parts.ts',
};

/** Reads every TypeScript file below some folders of a checkout. */
export function readHouse(root: string, folders: readonly string[]): Map<string, Source> {
  const house = new Map<string, Source>();
  for (const folder of folders) {
    for (const entry of readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.m?tsx?$/.test(entry.name) || entry.name.endsWith('.d.ts')) continue;
      const full = path.join(entry.parentPath, entry.name);
      const file = path.relative(root, full).split(path.sep).join('/');
      if (!/(^|\/)(node_modules|web|dist)\//.test(file)) house.set(file, readSource(file, readFileSync(full, 'utf8')));
    }
  }
  return house;
}

export function readSource(file: string, text: string): Source {
  const { module, program, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  const imports: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) =>
    imports.push({ specifier, target: targetOf(file, specifier), typeOnly });
  for (const { moduleRequest, entries, start } of module.staticImports) {
    // `import { type A }` still loads the module when it runs (verbatimModuleSyntax): it is no type-only import.
    const isType = /^import\s+type\b(?!\s*(from\b|,))/.test(text.slice(start));
    add(moduleRequest.value, isType && entries.every((entry) => entry.isType));
  }
  for (const { entries, start } of module.staticExports) {
    const isType = /^export\s+type\b/.test(text.slice(start));
    for (const specifier of new Set(entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? [])))
      add(specifier, isType);
  }
  const parents: string[] = [];
  let exits = false;
  let pluginId: string | null = null;
  const textOf = ({ start, end }: { start: number; end: number }) => text.slice(start, end);
  const heir = ({ superClass }: { superClass: Node | null }) => superClass !== null && parents.push(textOf(superClass));
  new Visitor({
    ClassDeclaration: heir,
    ClassExpression: heir,
    ImportExpression({ source }) {
      if (source.type === 'Literal') add(String(source.value), false);
    },
    TSImportType({ source }) {
      add(source.value, true);
    },
    CallExpression({ callee, arguments: [first] }) {
      if (/^process\.(exit|on|once)$/.test(textOf(callee))) exits = true;
      if (textOf(callee) === 'require' && first?.type === 'Literal') add(String(first.value), false);
      if (textOf(callee) === 'definePlugin' && first?.type === 'ObjectExpression') pluginId ??= idIn(textOf(first));
    },
  }).visit(program);
  return { lines: text.replace(/\n$/, '').split('\n').length, imports, parents, exits, pluginId };
}

function idIn(text: string): string | null {
  return /\bid:\s*'([^']+)'/.exec(text)?.[1] ?? null;
}

function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return ENTRIES[specifier] ?? specifier;
  return path.posix.join(path.posix.dirname(file), specifier);
}

/** `core/calls` of core/calls/dispatch.ts; a file right in `core`, `haproxy` or a plugin's folder's parent is its own room. */
export function roomOf(file: string): string {
  const [top = '', second = '', third] = file.split('/');
  if (top === 'haproxy') return top;
  return third === undefined ? file : `${top}/${second}`;
}

/** Who imports whom, types included where they are asked for; only what is in the house. */
export function edgesOf(house: House, withTypes: boolean, nodeOf: (file: string) => string = (file) => file): Edges {
  const edges = new Map<string, Set<string>>();
  for (const [file, { imports }] of house) {
    const from = nodeOf(file);
    const targets = edges.get(from) ?? new Set();
    edges.set(from, targets);
    for (const { target, typeOnly } of imports) {
      if ((typeOnly && !withTypes) || !house.has(target)) continue;
      const to = nodeOf(target);
      if (to !== from || target === file) targets.add(to);
    }
  }
  return edges;
}

/** Groups of nodes that reach each other, each in alphabetical order (Tarjan). */
export function circlesOf(edges: Edges): string[][] {
  return groupsOf(edges).filter((group) => group.length > 1 || edges.get(group[0] as string)?.has(group[0] as string));
}

/** Givers come before takers. */
function groupsOf(edges: Edges): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): void => {
    index.set(node, index.size);
    low.set(node, index.get(node) as number);
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node) as number, low.get(next) as number));
    }
    if (low.get(node) === index.get(node)) found.push(stack.splice(stack.indexOf(node)).sort());
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
  return found;
}

/** The floor of each node: 1 imports nothing of the house, the others stand right above the highest that they import. */
export function floorsOf(edges: Edges): Map<string, number> {
  const floors = new Map<string, number>();
  for (const group of groupsOf(edges)) {
    const below = group.flatMap((node) => [...(edges.get(node) ?? [])]).filter((node) => !group.includes(node));
    const floor = 1 + Math.max(0, ...below.map((node) => floors.get(node) ?? 0));
    for (const node of group) floors.set(node, floor);
  }
  return floors;
}

function print(root: string): void {
  const house = readHouse(root, ['core']);
  const rooms = edgesOf(house, true, roomOf);
  const floors = floorsOf(rooms);
  const size = (room: string) => {
    const files = [...house].filter(([file]) => roomOf(file) === room);
    return { files: files.length, lines: files.reduce((sum, [, { lines }]) => sum + lines, 0) };
  };
  for (const floor of [...new Set(floors.values())].sort((a, b) => a - b)) {
    console.log(`\nfloor ${floor}`);
    for (const [room] of [...floors].filter(([, at]) => at === floor).sort()) {
      const { files, lines } = size(room);
      const below = [...(rooms.get(room) ?? [])].map((one) => one.replace('core/', '')).sort();
      const head = `${room.padEnd(22)} ${String(files).padStart(3)} ${files === 1 ? 'file ' : 'files'} ${String(lines).padStart(5)} lines`;
      console.log(`  ${head}   ${below.length === 0 ? '' : `-> ${below.join(' ')}`}`);
    }
  }
  const circles = circlesOf(rooms);
  const inCircle = (a: string, b: string) => circles.some((group) => group.includes(a) && group.includes(b));
  const arrows = [...rooms].flatMap(([from, to]) => [...to].map((one) => [from, one] as const));
  const files = edgesOf(house, true);
  const count = (edges: Edges) => [...edges.values()].reduce((sum, { size: one }) => sum + one, 0);
  console.log(
    `\nrooms ${rooms.size}, floors ${Math.max(...floors.values())}, arrows ${arrows.length}, ` +
      `of these in circles ${arrows.filter(([a, b]) => inCircle(a, b)).length}, circles of rooms ${circles.length}`,
  );
  console.log(
    `files ${house.size}, floors of files ${Math.max(...floorsOf(files).values())}, arrows between files ${count(files)}, ` +
      `circles of files ${circlesOf(files).length}`,
  );
  for (const group of circles) console.log(`circle: ${group.join(' ')}`);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  print(path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '..')));
}
