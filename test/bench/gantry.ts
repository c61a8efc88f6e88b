import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ChannelDefinition } from '../../core/calls/channels.ts';
import { Child, freePort, SERVER_CPU, untilAnswers } from './child.ts';
import { here, root, workDir } from './scripts.ts';
import { BODY, KEY, KEY_HEADER, SERVICE } from './work.ts';

export interface GantryOptions {
  readonly name: string;
  readonly paths: readonly string[];
  /** With a Koa middleware that lets everything pass. */
  readonly middleware?: boolean;
  /** With the plugin that rebinds channels and tells the heap, on demand. */
  readonly control?: boolean;
  /**
   * With everything that a server has by default, its ping, and the admin API. Else only with what the measured channels
   * need.
   */
  readonly whole?: boolean;
  /** Further folders. */
  readonly services?: readonly string[];
  readonly nodeOptions?: readonly string[];
}

export interface Server {
  readonly name: string;
  readonly port: number;
  readonly child: Child;
  readonly paths: readonly string[];
}

/** Of the first administrator. */
export const PASSWORD = 'bench-password';
export const CONTROL = path.join(here, 'plugins/control.ts');
const MAIN = path.join(root, 'dist/core/main.js');

/** Starts the built product with a config of its own; resolves once it answers. */
export async function startGantry(options: GantryOptions): Promise<Server> {
  const { name, paths, nodeOptions = [] } = options;
  const port = await freePort();
  const file = writeConfig(options, port);
  const child = new Child(name, gantryCommand(file, nodeOptions), { cpu: SERVER_CPU });
  const [first = '/'] = paths;
  const headers = { [KEY_HEADER]: KEY, 'content-type': 'application/json' };
  await untilAnswers(child, { port, path: first, method: 'POST', headers, body: BODY });
  return { name, port, child, paths };
}

/** What `npm start` runs, with another config. Throws where the product is not built. */
export function gantryCommand(config: string, nodeOptions: readonly string[] = []): string[] {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not there: run "npm run build" first`);
  return [process.execPath, ...nodeOptions, MAIN, 'start', '--config', config];
}

/** Writes a config as an operator would: YAML, one line for a channel. Gives its path. */
export function writeConfig(options: GantryOptions, port: number): string {
  const { name, paths, whole, control, services = [] } = options;
  const dir = path.join(workDir, `${name}-${port}`);
  mkdirSync(dir, { recursive: true });
  const own = whole === true ? ['services/health', 'services/admin'].map((one) => path.join(root, one)) : [];
  const folders = [path.join(here, 'services'), ...own, ...services];
  const lines = [
    ...(whole === true ? [`extends: ${path.join(root, 'config/base.yaml')}`] : []),
    `name: ${name}`,
    `data: ${path.join(dir, 'data')}`,
    'plugins:',
    `  http.koa: ${httpBlock(options, port)}`,
    ...(whole === true
      ? [`  feature.admin: { adminPassword: ${PASSWORD} }`]
      : ['codec.json', 'transport.rest', 'guard.apikey', 'stats.memory'].map((id) => `  ${id}: {}`)),
    ...(control === true ? [`  feature.control: { use: ${CONTROL} }`] : []),
    `services: [${folders.join(', ')}]`,
    'channels:',
    ...(whole === true ? [`  - ${PING_CHANNEL}`] : []),
    ...paths.map((at, i) => `  - ${JSON.stringify(channelOf(`c${i}`, at))}`),
  ];
  const file = path.join(dir, 'gantry.yaml');
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

/** Answers a GET of a whole server. */
export const PING = '/gantry/ping';
const PING_CHANNEL = `{ name: ping, transport: rest, address: { method: GET, path: ${PING} }, service: gantry.ping }`;

function httpBlock({ middleware }: GantryOptions, port: number): string {
  const listed = `, middleware: [{ use: ${path.join(here, 'servers/pass-through.ts')}, path: /shop }]`;
  return `{ host: 127.0.0.1, port: ${port}${middleware === true ? listed : ''} }`;
}

/** The guard of every measured channel; its own keys are not the core's to know. */
export const SECURITY: { readonly guard: string } & Readonly<Record<string, unknown>> = {
  guard: 'apikey',
  header: KEY_HEADER,
  keys: [{ name: 'bench', key: KEY }],
};

/** A channel as an operator writes it. */
export function channelOf(name: string, at: string): ChannelDefinition {
  return {
    name,
    transport: 'rest',
    address: { method: 'POST', path: at },
    service: SERVICE,
    security: SECURITY,
  };
}
