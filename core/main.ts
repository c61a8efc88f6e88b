#!/usr/bin/env node
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isForClient, USAGE } from './cli/usage.ts';
import { didYouMean, explain, GantryError, isGantryError, type Problem } from './errors.ts';
import type { Logs } from './log/log.ts';
import type { Process } from './process.ts';

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

// A closed pipe or a full disk on stdout or stderr must not end the server.
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
  // Set before the config is read, because the config refers to it.
  if (values.install === true) process.env['GANTRY_INSTALL'] = 'true';
  const config = values.config ?? process.env['GANTRY_CONFIG'] ?? path.join(home, 'config/default.yaml');
  await command({ config, ...(values.out === undefined ? {} : { out: values.out }) });
}

/** Runs a command that administers a running server. Its code is loaded only for such a command. */
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

/** A mistake on the command line. The process exits with 2, as the client does (see EXITS in core/cli). */
function misused(what: string): GantryError {
  return new GantryError('USAGE', what.trim(), { kind: 'setup', hint: `\n${USAGE}` });
}

async function start({ config: file }: Options): Promise<void> {
  process.setSourceMapsEnabled(true);
  const { blueprintOf, Process, loader } = await import('./process.ts');
  const { Logs } = await import('./log/log.ts');
  const { config, loaded, problems, options } = await blueprintOf(file, version);
  const logs = new Logs({ ...config.log, server: config.name });
  // The process needs this function before onSignals() can make it.
  const restart = { now: () => {} };
  const own = new Process({ ...options, logs, onRestart: () => restart.now() }).create(loaded, problems);
  restart.now = onSignals(own, logs);
  makeData(config.data);
  own.deployFiles(await loader.services(config.services));
  await own.start(config);
  if (own.state !== 'ready') return;
  const { transports, channels, services } = own.cradle;
  const { greeting } = await import('./greeting.ts');
  say(
    greeting(
      version,
      config,
      [...transports.values()].flatMap((transport) => transport.endpoints?.() ?? []),
    ),
  );
  own.log.info({ channels: channels.list().length, services: services.names().length }, 'ready');
}

/**
 * Reports as many problems as it can find at once. Some stay hidden until others are fixed, e.g. the problems of
 * channels whose plugin is missing.
 */
async function check({ config: file }: Options): Promise<void> {
  const { blueprintOf, Process, loader } = await import('./process.ts');
  const { Logs } = await import('./log/log.ts');
  const { config, loaded, problems, options } = await blueprintOf(file, version);
  const files = await loader.services(config.services);
  const broken = files.flatMap((one): Problem[] =>
    'refused' in one ? [{ path: 'services', message: one.refused.message }] : [],
  );
  const own = new Process({ ...options, logs: new Logs({ level: 'silent' }) }).create(loaded, [...problems, ...broken]);
  const refused = own.deployFiles(files).map(({ message }): Problem => ({ path: 'services', message }));
  own.bind(config, refused);
  const { plugins, channels, connections } = config;
  say(
    `${file} is good: ${Object.keys(plugins).length} plugins, ${own.cradle.services.names().length} services, ` +
      `${channels.length} channels, ${connections.length} connections. Nothing was started.\n`,
  );
}

async function schema({ out }: Options): Promise<void> {
  const { configSchema } = await import('./config/json-schema.ts');
  const { loader } = await import('./doors.ts');
  const text = `${JSON.stringify(await configSchema(loader), null, 2)}\n`;
  if (out === undefined) say(text);
  else writeFileSync(out, text);
}

/** EX_TEMPFAIL of sysexits.h: the supervisor should start the process again. */
const RESTART = 75;

/**
 * SIGTERM and SIGINT drain; the same signal again exits at once. SIGUSR2 switches debug lines on, and off again. The
 * function that it returns drains and then exits with RESTART.
 */
function onSignals(own: Process, logs: Logs): () => void {
  process.on('exit', () => logs.endNow());
  let stopping = false;
  const heard = new Set<string>();
  const stop = (signal: string) => {
    // Only a repeated signal exits at once: a first SIGTERM during a restart, or after SIGINT, does not.
    if (heard.has(signal)) process.exit(1);
    heard.add(signal);
    if (stopping) return;
    stopping = true;
    own.log.info({ signal, inFlight: own.cradle.channels.inHand }, 'stopping; the same signal again stops at once');
    const stopped = async () => {
      await own.stop();
      own.log.info({}, 'stopped');
      await logs.end(1000);
      process.exit(process.exitCode ?? 0);
    };
    stopped().catch(exitWith);
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  const configured = logs.level();
  process.on('SIGUSR2', () => {
    logs.setLevel(logs.level() === 'debug' ? configured : 'debug');
    own.log.info({ level: logs.level() }, 'the log level changed');
  });
  process.on('unhandledRejection', (error) => {
    own.log.error({ error }, 'a promise was rejected and nobody looked; a service may lack an await');
  });
  process.on('uncaughtException', (error) => {
    own.log.error({ error }, 'an error escaped; the process drains and exits');
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

function say(text: string): void {
  process.stdout.write(text);
}

/** Prints the error (on one line, or with a list of its problems) and exits. */
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
