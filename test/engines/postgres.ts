import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { certificate } from './certificate.ts';
import { asUser, Daemon, unprivileged, Warden } from './daemon.ts';
import {
  type Access,
  type Client,
  dataFolder,
  type Engine,
  type EngineKind,
  freePort,
  freshName,
  type Running,
} from './engine.ts';

const host = '127.0.0.1';

export const postgresKind: EngineKind = {
  name: 'PostgreSQL',
  debian: 'postgresql',
  programs: ['postgres', 'initdb'],
  folders: ['/usr/lib/postgresql/*/bin', '/usr/local/pgsql/bin', '/opt/homebrew/opt/postgresql/bin'],

  async open([postgres = '', initdb = '']): Promise<Running> {
    const user = unprivileged('postgres', 'nobody');
    const folder = dataFolder('postgres', user);
    const warden = new Warden(folder, 'SIGQUIT');
    const data = path.join(folder, 'data');
    const secrets = { admin: randomBytes(12).toString('hex'), user: randomBytes(12).toString('hex') };
    const secretFile = path.join(folder, 'password');
    writeFileSync(secretFile, secrets.admin, { mode: 0o644 });
    const args = [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'scram-sha-256',
      `--pwfile=${secretFile}`,
      '--no-sync',
      '-E',
      'UTF8',
    ];
    // Where texts are compared as a language does it, what is to compare exactly has to say so.
    const icu = ['--locale-provider=icu', '--icu-locale=en-US', '--locale=C.UTF-8'];
    const plain = ['--locale=C.UTF-8'];
    const made = [icu, plain].some((locale) => {
      const { status } = spawnSync(initdb, [...args, ...locale], { cwd: folder, ...asUser(user), stdio: 'ignore' });
      return status === 0;
    });
    if (!made) throw new Error(`${initdb} made no database in ${folder}`);

    const port = await freePort();
    const tls = certificate(folder, user);
    const settings = {
      listen_addresses: host,
      port,
      unix_socket_directories: '',
      max_connections: 200,
      // Survives the end of the process at any moment, and not that of the machine.
      fsync: 'off',
      full_page_writes: 'off',
      shared_buffers: '32MB',
      autovacuum: 'off',
      log_min_messages: 'log',
      log_min_error_statement: 'panic',
      ...(tls === null ? {} : { ssl: 'on', ssl_cert_file: tls.certFile, ssl_key_file: tls.keyFile }),
    };
    const daemon = new Daemon(
      {
        command: postgres,
        args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
        user,
        ready: /database system is ready to accept connections/,
        stopSignal: 'SIGINT',
      },
      warden,
    );
    await daemon.start();

    const access: Access = {
      ...{ host, port, user: 'gantry', password: secrets.user, adminPassword: secrets.admin },
      ca: tls?.pem ?? null,
    };
    const { admin, database } = postgresClient(access);
    const [told] = await admin(`CREATE ROLE gantry LOGIN PASSWORD '${secrets.user}'`, 'SHOW server_version');

    const engine: Engine = {
      name: 'PostgreSQL',
      version: String(told?.['server_version']),
      ...{ host, port, user: access.user, password: access.password, ca: access.ca },
      get pid() {
        return daemon.pid;
      },
      database,
      admin,
      start: () => daemon.start(),
      stop: () => daemon.stop(),
      kill: () => daemon.kill(),
      freeze: () => daemon.freeze(),
      thaw: () => daemon.thaw(),
    };
    return { engine, access, daemon, warden };
  },

  client: postgresClient,
};

function postgresClient({ host, port, adminPassword }: Access): Client {
  const admin: Client['admin'] = async (...statements) => {
    const client = new pg.Client({ host, port, user: 'postgres', password: adminPassword, database: 'postgres' });
    // It may be stopped while we are connected; what is under way rejects by itself.
    client.on('error', () => {});
    await client.connect();
    try {
      let rows: readonly Record<string, unknown>[] = [];
      for (const sql of statements) rows = (await client.query(sql)).rows;
      return rows;
    } finally {
      await client.end();
    }
  };
  return {
    admin,
    async database() {
      const name = freshName();
      await admin(`CREATE DATABASE ${name} OWNER gantry`);
      return name;
    },
  };
}
