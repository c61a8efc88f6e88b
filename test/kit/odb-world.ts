import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { type GantryError, isGantryError } from '../../core/errors.ts';
import type { Lifecycle, Loaded } from '../../core/kernel/plugin.ts';
import { Logs } from '../../core/log/log.ts';
import type { Author, Odb, Write } from '../../core/ports/odb.ts';
import { Process } from '../../core/process.ts';

export interface OdbUnderTest {
  /** For the titles, e.g. 'odb.sequelize on PostgreSQL'. */
  readonly name: string;
  /** A new and empty database. */
  database(): Promise<OdbDatabase>;
}

export interface OdbDatabase {
  /** The plugins that keep records in it: the odb, and what it needs. Every server of the kit is made of them. */
  readonly plugins: readonly Loaded[];
  /** Runs one statement in it, behind the odb's back, as the same user; e.g. to make a table for effects. */
  run(sql: string): Promise<unknown>;
  /** Removes it, once all servers are stopped. */
  drop(): Promise<void>;
}

/** A server that has nothing but an odb. */
export interface OdbServer {
  readonly odb: Odb;
  stop(): Promise<void>;
}

/** Starts a server on a database. Rejects as its start does, and leaves nothing then. */
export async function openOdb({ plugins }: Pick<OdbDatabase, 'plugins'>): Promise<OdbServer> {
  const data = mkdtempSync(path.join(tmpdir(), 'gantry-odb-'));
  const server = wireOdb(plugins, new Logs({ level: 'silent' }), data);
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
  return { odb: server.odb, stop };
}

/** The odb as a kernel wires it; started by itself, since a kernel that starts goes on to serve what it finds there. */
export function wireOdb(plugins: readonly Loaded[], logs: Logs, data: string): OdbServer & { start(): Promise<void> } {
  const kernel = new Process({ logs, data });
  kernel.create(plugins.map((plugin) => ({ ...plugin, config: structuredClone(plugin.config) })));
  const { dialect, odb } = kernel.cradle;
  // An odb that needs no dialect has none.
  const units = ([dialect, odb] as (Lifecycle | null)[]).filter((unit) => unit !== null);
  return {
    odb,
    start: async () => {
      for (const unit of units) await unit.start?.();
    },
    stop: async () => {
      for (const unit of units.toReversed()) await unit.stop?.();
    },
  };
}

type Content = Partial<Omit<Extract<Write, { action: 'create' }>, 'action' | 'kind' | 'name'>>;

/** Two servers on one database, and what the tests write there. */
export class OdbWorld {
  readonly under: OdbUnderTest;
  readonly by: Author = { name: 'the kit', cid: 'cid-of-the-kit' };
  #database: OdbDatabase | null = null;
  #servers: OdbServer[] = [];
  #kinds = 0;

  constructor(under: OdbUnderTest) {
    this.under = under;
  }

  get odb(): Odb {
    return this.#at(0);
  }
  /** Of the other server. */
  get other(): Odb {
    return this.#at(1);
  }

  /** As OdbDatabase.run(). */
  async run(sql: string): Promise<void> {
    await this.#database?.run(sql);
  }

  async open(): Promise<void> {
    this.#database = await this.under.database();
    this.#servers = [await openOdb(this.#database), await openOdb(this.#database)];
  }
  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await this.#database?.drop();
  }

  /** One that no other test uses. */
  kind(): string {
    return `kit${++this.#kinds}`;
  }

  readonly create = (kind: string, name: string, content: Content = {}): Write & { readonly action: 'create' } => ({
    action: 'create',
    kind,
    name,
    body: {},
    ...content,
  });
  readonly update = (kind: string, name: string, version: number, content: Content = {}): Write => ({
    action: 'update',
    kind,
    name,
    version,
    body: {},
    ...content,
  });
  readonly remove = (kind: string, name: string, version?: number): Write & { readonly action: 'remove' } => ({
    action: 'remove',
    kind,
    name,
    ...(version === undefined ? {} : { version }),
  });

  #at(i: number): Odb {
    const server = this.#servers[i];
    if (server === undefined) throw new Error('the database did not open');
    return server.odb;
  }
}

/** Expects that the work is refused with that code, and that its message tells `of`. */
export async function refusal(code: string, work: Promise<unknown>, of = ''): Promise<GantryError> {
  const error: unknown = await work.then(
    () => expect.fail(`nothing was refused, ${code} was expected`),
    (thrown) => thrown,
  );
  if (!isGantryError(error)) throw error;
  expect(error.code, error.message).to.equal(code);
  expect(error.message).to.include(of);
  return error;
}
