import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Plugin } from '../../core/cradle.ts';
import type { Loaded } from '../../core/kernel/plugin.ts';
import { Logs } from '../../core/log/log.ts';
import mysql from '../../plugins/dialect-mysql/index.ts';
import oracle from '../../plugins/dialect-oracle/index.ts';
import postgres from '../../plugins/dialect-postgres/index.ts';
import sqlite from '../../plugins/dialect-sqlite/index.ts';
import odb from '../../plugins/odb-sequelize/index.ts';
import { type OdbDatabase, type OdbServer, wireOdb } from '../kit/odb-world.ts';
import { connect } from './connect.ts';

const DIALECTS = new Map<string, Plugin>(
  [sqlite, postgres, mysql, oracle].map((plugin) => [plugin.id, plugin as unknown as Plugin]),
);

type Config = Readonly<Record<string, unknown>>;

/** What a server is made of that keeps its records there. */
export function odbPlugins(dialect: string, config: Config, limits: Config = {}): readonly Loaded[] {
  const plugin = DIALECTS.get(dialect);
  if (plugin === undefined) throw new Error(`There is no ${dialect}`);
  return [
    { id: dialect, plugin, config },
    { id: odb.id, plugin: odb as unknown as Plugin, config: limits },
  ];
}

/** For the kit. */
export function odbDatabase(dialect: string, config: Config, drop = async () => {}): OdbDatabase {
  return { plugins: odbPlugins(dialect, config), run: (sql) => ask(dialect, config, sql), drop };
}

/** One statement, behind the odb's back. */
export async function ask(dialect: string, config: Config, sql: string): Promise<readonly Record<string, unknown>[]> {
  const plugin = DIALECTS.get(dialect);
  if (plugin === undefined) throw new Error(`There is no ${dialect}`);
  const { sequelize, close } = await connect(plugin, config);
  try {
    const [rows] = await sequelize.query(sql);
    return rows as readonly Record<string, unknown>[];
  } finally {
    await close();
  }
}

/** Started; it tells which migrations it made. */
export async function openServer(
  dialect: string,
  config: Config,
  limits: Config = {},
): Promise<OdbServer & { migrated(): readonly string[] }> {
  const migrated: string[] = [];
  const hear = (line: string) => {
    const { migration } = JSON.parse(line) as { migration?: string };
    if (migration !== undefined) migrated.push(migration);
  };
  const data = mkdtempSync(path.join(tmpdir(), 'gantry-odb-'));
  const server = wireOdb(odbPlugins(dialect, config, limits), new Logs({ level: 'info', to: { write: hear } }), data);
  const stop = async () => {
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  };
  try {
    await server.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { odb: server.odb, stop, migrated: () => migrated };
}
