#!/usr/bin/env node
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isForClient, USAGE } from './cli/usage.ts';
import { ClusterConfig } from './cluster/cluster.ts';
import { plain, type Survey, settle, surveyConfig } from './config/config.ts';
import { configSchema } from './config/json-schema.ts';
import { Config, Entry } from './config/root.ts';
import { didYouMean, explain, GantryError, isGantryError, type Problem, refuse, toGantryError } from './errors.ts';
import { greeting } from './greeting.ts';
import { checkBlock } from './kernel/blocks.ts';
import { Kernel, type KernelOptions } from './kernel/kernel.ts';
import type { Loaded } from './kernel/plugin.ts';
import { loadPlugin, ownPlugins } from './loading/plugins.ts';
import { readServices } from './loading/services.ts';
import { Logs } from './log/log.ts';
import { compileConfig } from './schema/check.ts';
import { wrapSecrets } from './schema/secret.ts';
import { Keyring } from './secrets/keyring.ts';

/** The package: the folder above `core`, or above `dist/core`. */
const here = path.dirname(fileURLToPath(import.meta.url));
const home = path.resolve(here, path.basename(path.dirname(here)) === 'dist' ? '../..' : '..');
const { version } = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8')) as { version: string };

type Command = (options: Options) => Promise<void>;
interface Options {
  readonly config: string;
  readonly out?: string;
}
const COMMANDS: Readonly<Record<string, Command>> = { start, check, schema };

// Nobody reads what is said to people, or there is no room for it: the work goes on.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

main().catch(exitWith);

async function main(): Promise<void> {
  if (isForClient(process.argv.slice(2), Object.keys(COMMANDS))) return client();
  const { values, positionals } = parsed();
  const [name = 'start'] = positionals;
  if (values.help === true) return say(USAGE);
  if (values.version === true) return say(`${version}\n`);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw misused(`There is no command '${name}'. ${didYouMean(name, Object.keys(COMMANDS))}`);
  if (positionals.length > 1) throw misused(`'${positionals[1]}' is one word too many.`);
  // Before the config is read, which says what becomes of it.
  if (values.install === true) process.env['GANTRY_INSTALL'] = 'true';
  const config = values.config ?? process.env['GANTRY_CONFIG'] ?? path.join(home, 'config/default.yaml');
  await command({ config, ...(values.out === undefined ? {} : { out: values.out }) });
}

/** Everything else administers a server that runs, and is not loaded where one is started. */
async function client(): Promise<void> {
  const { runClient } = await import('./cli/index.ts');
  const { stdin, stdout, stderr, env } = process;
  process.exitCode = await runClient(process.argv.slice(2), { stdin, stdout, stderr, env }, version);
}

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        config: { type: 'string', short: 'c' },
        out: { type: 'string' },
        install: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
      },
    });
  } catch (thrown) {
    throw misused(`${(thrown as Error).message.split('. ')[0]}.`);
  }
}

/** As a client of a server tells it, too: see EXITS there. */
function misused(what: string): GantryError {
  return new GantryError('USAGE', what.trim(), { kind: 'setup', hint: `\n${USAGE}` });
}

async function start({ config: file }: Options): Promise<void> {
  process.setSourceMapsEnabled(true);
  const survey = surveyConfig(file);
  const { config } = survey;
  const loaded = await load(survey);
  const logs = new Logs({ ...config.log, server: config.name });
  // Given to the kernel before there is one to stop.
  const restart = { now: () => {} };
  const kernel = new Kernel({ ...kernelOptions(survey), logs, onRestart: () => restart.now() }).create(loaded);
  restart.now = onSignals(kernel, logs);
  makeData(config.data);
  kernel.deployFiles(await readServices(config.services));
  await kernel.start(config);
  greet(kernel, config);
}

/** As much at once as can be told: what one problem hides (the channels of a plugin that is not there) comes after it. */
async function check({ config: file }: Options): Promise<void> {
  const survey = surveyConfig(file);
  const { config } = survey;
  const files = survey.usable ? await readServices(config.services) : [];
  const broken = files.flatMap((one): Problem[] =>
    'refused' in one ? [{ path: 'services', message: one.refused.message }] : [],
  );
  const loaded = await load({ ...survey, problems: [...survey.problems, ...broken] });
  const kernel = new Kernel({ ...kernelOptions(survey), logs: new Logs({ level: 'silent' }) }).create(loaded);
  const refused = kernel.deployFiles(files).map(({ message }): Problem => ({ path: 'services', message }));
  refuse([...refused, ...kernel.check(config)]);
  kernel.bind(config);
  const { plugins, channels, connections } = config;
  say(
    `${file} is good: ${Object.keys(plugins).length} plugins, ${kernel.cradle.services.names().length} services, ` +
      `${channels.length} channels, ${connections.length} connections. Nothing was started.\n`,
  );
}

async function schema({ out }: Options): Promise<void> {
  const text = `${JSON.stringify(await configSchema(), null, 2)}\n`;
  if (out === undefined) say(text);
  else writeFileSync(out, text);
}

/** Finds every plugin and checks its block. Throws CONFIG_INVALID with all problems, those of the survey among them. */
async function load(survey: Survey): Promise<Loaded[]> {
  const { config, dir, problems: surveyed, usable } = survey;
  if (!usable) refuse(surveyed);
  const known = ownPlugins();
  const found = await Promise.all(
    Object.entries(config.plugins).map(([id, block]) => find(id, block as Record<string, unknown>, dir, known)),
  );
  const loaded = found.filter((one): one is Loaded => 'plugin' in one);
  const missing = found.filter((one): one is readonly Problem[] => !('plugin' in one));
  const problems = [...missing.flat(), ...loaded.flatMap(checkBlock), ...keyProblems(survey)];
  // What a reference could not write is wrong once, not also of the wrong type.
  refuse([...surveyed, ...problems.filter(({ path: at }) => !surveyed.some((p) => p.path === at))]);
  return loaded;
}

/** Keys in a file are read, or made, at the start. */
function keyProblems({ config, problems }: Survey): Problem[] {
  if (problems.some(({ path: at }) => at.startsWith('secrets'))) return [];
  const { keys } = wrapSecrets(Config.properties.secrets, config.secrets) as NonNullable<KernelOptions['secrets']>;
  if (keys === undefined || keys.reveal().trim() === '') return [];
  try {
    new Keyring({ keys, file: '' });
    return [];
  } catch (thrown) {
    const { message, hint } = toGantryError(thrown);
    return [{ path: 'secrets.keys', message, ...(hint === undefined ? {} : { hint }) }];
  }
}

/** One entry of "plugins" with its module, or what is wrong with it. */
async function find(
  id: string,
  { use, optional, ...config }: Record<string, unknown>,
  dir: string,
  known: readonly string[],
): Promise<Loaded | readonly Problem[]> {
  const entry = plain(settle(Entry, { use, optional })) as Entry;
  const wrong = compileConfig(Entry, 'the config')(entry, `plugins.${id}`);
  if (wrong.length > 0) return wrong;
  try {
    return { id, plugin: await loadPlugin(entry.use ?? id, dir, known), config, optional: entry.optional === true };
  } catch (thrown) {
    const { message, hint } = toGantryError(thrown);
    return [{ path: `plugins.${id}`, message, plugin: id, ...(hint === undefined ? {} : { hint }) }];
  }
}

function kernelOptions({ config, dir }: Survey): Omit<KernelOptions, 'logs'> {
  const { name, startTimeoutMs, graceMs, data, follows, cluster } = config;
  const secrets = wrapSecrets(Config.properties.secrets, config.secrets) as NonNullable<KernelOptions['secrets']>;
  const own = { name, version, startTimeoutMs, graceMs, dir, data, secrets };
  return {
    ...own,
    ...(follows === undefined ? {} : { follows }),
    ...(cluster === undefined ? {} : { cluster: wrapSecrets(ClusterConfig, cluster) as ClusterConfig }),
  };
}

/** As sysexits.h has it: try again. Who supervises the process starts it anew. */
const RESTART = 75;

/**
 * SIGTERM and SIGINT drain, a second one exits at once. SIGUSR2 switches debug lines on, and off again. What it returns
 * ends the process in order, to be started again.
 */
function onSignals(kernel: Kernel, logs: Logs): () => void {
  process.on('exit', () => logs.endNow());
  let stopping = false;
  const heard = new Set<string>();
  const stop = (signal: string) => {
    // One who heard the order to restart, or another signal, has not been impatient yet.
    if (heard.has(signal)) process.exit(1);
    heard.add(signal);
    if (stopping) return;
    stopping = true;
    kernel.log.info({ signal, inHand: kernel.cradle.channels.inHand }, 'stopping; the same signal again stops at once');
    const stopped = async () => {
      await kernel.stop();
      kernel.log.info({}, 'stopped');
      await logs.end(1000);
      process.exit(process.exitCode ?? 0);
    };
    stopped().catch(exitWith);
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  const configured = logs.level();
  process.on('SIGUSR2', () => {
    logs.setLevel(logs.level() === 'debug' ? configured : 'debug');
    kernel.log.info({ level: logs.level() }, 'the log level changed');
  });
  process.on('unhandledRejection', (error) => {
    kernel.log.error({ error }, 'a promise was rejected and nobody looked; a service may lack an await');
  });
  process.on('uncaughtException', (error) => {
    kernel.log.error({ error }, 'an error escaped; the process drains and exits');
    process.exitCode = 1;
    if (!stopping) stop('uncaughtException');
  });
  return () => {
    process.exitCode = RESTART;
    if (!stopping) stop('restart');
  };
}

function makeData(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new GantryError(
      'CONFIG_UNREADABLE',
      `The data folder ${folder} cannot be made (${(cause as NodeJS.ErrnoException).code})`,
      {
        cause,
        hint: 'Set GANTRY_DATA, or "data" in the config, to a folder that this process may write.',
      },
    );
  }
}

/** For the person who started it; the log goes to stderr. */
function greet(kernel: Kernel, config: Config): void {
  if (kernel.state !== 'ready') return;
  const { transports, channels, services } = kernel.cradle;
  const endpoints = [...transports.values()].flatMap((transport) => transport.endpoints?.() ?? []);
  say(greeting(version, config, endpoints));
  kernel.log.info({ channels: channels.list().length, services: services.names().length }, 'ready');
}

function say(text: string): void {
  process.stdout.write(text);
}

/** One line where one line tells it; a list where there is more than one thing to mend. */
function exitWith(thrown: unknown): void {
  const error = isGantryError(thrown) ? thrown : null;
  if (error === null) process.stderr.write(`gantry: ${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
  else {
    const problems = error.problems?.map((p) => `  ${explain(p).replaceAll('\n', '\n  ')}\n`).join('') ?? '';
    const hint = error.hint === undefined ? '' : error.hint.replace(/^(?=\S)/, ' ');
    const end = /[.!?:]$/.test(error.message) || problems !== '' ? '' : '.';
    process.stderr.write(
      `gantry: ${error.message}${end}${hint}${problems === '' ? '' : `\n${problems}`}\n`.replace(/\n+$/, '\n'),
    );
  }
  process.exit(error?.code === 'USAGE' ? 2 : 1);
}
