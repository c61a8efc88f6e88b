import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Service } from '../../../core/api.ts';
import { loader } from '../../../core/doors.ts';
import type { Plugin } from '../../../core/kernel/plugin.ts';
import { Logs } from '../../../core/log/log.ts';
import { Process, type ProcessOptions } from '../../../core/process.ts';
import bus from '../../../plugins/bus-memory/index.ts';
import json from '../../../plugins/codec-json/index.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import admin from '../../../plugins/feature-admin/index.ts';
import apikey from '../../../plugins/guard-apikey/index.ts';
import basicGuard from '../../../plugins/guard-basic/index.ts';
import users from '../../../plugins/guard-users/index.ts';
import http from '../../../plugins/http-koa/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import argon2 from '../../../plugins/password-argon2/index.ts';
import scheduler from '../../../plugins/scheduler-agenda/index.ts';
import stats from '../../../plugins/stats-memory/index.ts';
import rest from '../../../plugins/transport-rest/index.ts';

const home = path.resolve(import.meta.dirname, '../../..');
export const PASSWORD = 'the first password';

/** What a call was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of it
  readonly body: any;
}

export interface AdminOptions extends Partial<ProcessOptions> {
  /** Beside those of services/admin and services/demo. */
  readonly services?: readonly Service[];
  readonly lists?: Parameters<Process['start']>[0];
  /** Blocks that differ, by plugin; null leaves the plugin out. The scheduler is there where it has one. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>> | null>>;
  /** Beside those of every such server. */
  readonly plugins?: readonly Plugin[];
  /** Default: an empty temporary one, removed in the end. */
  readonly data?: string;
}

/** A server with the admin API, real to the network and the database. */
export interface AdminServer {
  readonly kernel: Process;
  readonly url: string;
  /** Every line of the log. */
  readonly lines: readonly string[];
  /** All that was printed while it started. */
  readonly printed: string;
  /** Every reply, as it came. */
  readonly replies: readonly string[];
  /** Posts to a service of the admin API; by default as the first administrator. */
  ask(
    service: string,
    input?: unknown,
    authorization?: string | null,
    headers?: Record<string, string>,
  ): Promise<Answer>;
  /** The same, for what must be answered with 200. */
  good(service: string, input?: unknown, authorization?: string): Promise<Answer['body']>;
  stop(): Promise<void>;
}

export function basic(name: string, password = PASSWORD): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}
export function bearer(token: string): string {
  return `Bearer ${token}`;
}

const PLUGINS: readonly (readonly [Plugin, Readonly<Record<string, unknown>>])[] = [
  [odb, {}],
  [sqlite, {}],
  [bus, {}],
  // As cheap as can be: a test is about who is let in, and not about how dear it is to guess.
  [argon2, { memoryKiB: 8, iterations: 1, waiting: 1000 }],
  [json, {}],
  [stats, {}],
  [basicGuard, {}],
  [apikey, {}],
  [users, { maxFailures: 1000 }],
  [http, { port: 0 }],
  [rest, {}],
  [admin, { adminPassword: PASSWORD }],
  [scheduler, {}],
] as unknown as readonly (readonly [Plugin, Readonly<Record<string, unknown>>])[];

/** Starts one; what is not said is as config/base.yaml has it, and the first administrator has PASSWORD. */
export async function adminServer(options: AdminOptions = {}): Promise<AdminServer> {
  const { services = [], lists = {}, config = {}, plugins = [], data: given, ...rest } = options;
  const data = given ?? mkdtempSync(path.join(tmpdir(), 'gantry-admin-'));
  const lines: string[] = [];
  const replies: string[] = [];
  const logs = new Logs({ level: 'debug', to: { write: (line: string) => void lines.push(line) } });
  const kernel = new Process({ logs, graceMs: 1000, data, name: 'server1', version: '1.2.3', ...rest });
  const wanted = ({ id }: Plugin) => config[id] !== null && (id !== scheduler.id || config[id] !== undefined);
  const loaded = PLUGINS.filter(([plugin]) => wanted(plugin)).map(([plugin, block]) => {
    return { id: plugin.id, plugin, config: structuredClone({ ...block, ...config[plugin.id] }) };
  });
  const folders = [path.join(home, 'services/admin'), path.join(home, 'services/demo')];
  let printed = '';
  const stop = async () => {
    await kernel.stop();
    if (given === undefined) rmSync(data, { recursive: true, force: true });
  };
  const { write } = process.stdout;
  process.stdout.write = (text: string | Uint8Array) => {
    printed += String(text);
    return true;
  };
  try {
    kernel.create([...loaded, ...plugins.map((plugin) => ({ id: plugin.id, plugin, config: {} }))]);
    const refused = kernel.deployFiles(await loader.services(folders));
    if (refused.length > 0) throw refused[0];
    await kernel.deploy(services).start(lists);
  } catch (error) {
    await stop();
    throw error;
  } finally {
    process.stdout.write = write;
  }
  const [url = ''] = kernel.cradle.http.urls();

  const ask: AdminServer['ask'] = async (service, input = {}, authorization = basic('admin'), headers = {}) => {
    const reply = await fetch(`${url}/gantry/admin/${encodeURIComponent(service)}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(authorization === null ? {} : { authorization }),
        ...headers,
      },
      body: JSON.stringify(input),
    });
    const text = await reply.text();
    replies.push(`${service} ${reply.status} ${JSON.stringify([...reply.headers])} ${text}`);
    return { status: reply.status, headers: reply.headers, body: text === '' ? null : JSON.parse(text) };
  };
  return {
    kernel,
    url,
    lines,
    replies,
    printed,
    ask,
    async good(service, input, authorization) {
      const { status, body } = await ask(service, input, authorization);
      if (status === 200) return body;
      throw new Error(`${service} answered ${status}: ${JSON.stringify(body)}`);
    },
    stop,
  };
}
