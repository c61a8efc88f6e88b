import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createConnection } from 'mysql2/promise';
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

export const mariadbKind: EngineKind = {
  name: 'MariaDB',
  debian: 'mariadb-server',
  programs: ['mariadbd', 'mariadb-install-db'],
  folders: ['/usr/sbin', '/usr/local/bin', '/usr/local/mariadb/bin', '/opt/homebrew/bin'],

  async open([mariadbd = '', installDb = '']): Promise<Running> {
    const user = unprivileged('mysql', 'nobody');
    const folder = dataFolder('mariadb', user);
    const warden = new Warden(folder, 'SIGKILL');
    const data = path.join(folder, 'data');
    const { status, stdout, stderr } = spawnSync(
      installDb,
      ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
      { cwd: folder, env: { ...process.env, TMPDIR: folder }, ...asUser(user), encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`${installDb} made no database in ${folder}\n${stdout}\n${stderr}`);

    const port = await freePort();
    const secrets = { admin: randomBytes(12).toString('hex'), user: randomBytes(12).toString('hex') };
    const setUp = path.join(folder, 'init.sql');
    // Read at each start, so each line can be repeated.
    const lines = [
      `CREATE USER IF NOT EXISTS 'admin'@'%' IDENTIFIED BY '${secrets.admin}'`,
      "GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION",
      `CREATE USER IF NOT EXISTS 'gantry'@'%' IDENTIFIED BY '${secrets.user}'`,
    ];
    writeFileSync(setUp, lines.map((line) => `${line};\n`).join(''));
    if (user !== null) chownSync(setUp, user.uid, user.gid);
    const tls = certificate(folder, user);
    const settings = {
      datadir: data,
      tmpdir: folder,
      'bind-address': host,
      port,
      socket: path.join(folder, 's'),
      'pid-file': path.join(folder, 'pid'),
      'init-file': setUp,
      'max-connections': 200,
      // Could not be changed later, were it unlimited.
      'max-user-connections': 200,
      'skip-name-resolve': 1,
      'skip-log-bin': 1,
      'performance-schema': 0,
      'innodb-buffer-pool-size': '64M',
      'innodb-log-file-size': '16M',
      // Survives the end of the process at any moment, and not that of the machine.
      'innodb-flush-log-at-trx-commit': 2,
      'innodb-flush-method': 'nosync',
      'innodb-doublewrite': 0,
      'character-set-server': 'latin1',
      'log-warnings': 1,
      ...(tls === null ? {} : { 'ssl-cert': tls.certFile, 'ssl-key': tls.keyFile }),
    };
    const daemon = new Daemon(
      {
        command: mariadbd,
        args: ['--no-defaults', ...Object.entries(settings).map(([key, value]) => `--${key}=${value}`)],
        user,
        ready: /ready for connections/,
        stopSignal: 'SIGTERM',
      },
      warden,
    );
    await daemon.start();

    const access: Access = {
      ...{ host, port, user: 'gantry', password: secrets.user, adminPassword: secrets.admin },
      ca: tls?.pem ?? null,
    };
    const { admin, database } = mariadbClient(access);
    const [told] = await admin('SELECT VERSION() AS version');

    const engine: Engine = {
      name: 'MariaDB',
      version: String(told?.['version']),
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

  client: mariadbClient,
};

function mariadbClient({ host, port, adminPassword }: Access): Client {
  const admin: Client['admin'] = async (...statements) => {
    const client = await createConnection({ host, port, user: 'admin', password: adminPassword });
    try {
      let rows: unknown = [];
      for (const sql of statements) [rows] = await client.query(sql);
      return (Array.isArray(rows) ? rows : []) as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };
  return {
    admin,
    async database() {
      const name = freshName();
      // In a character set that cannot keep what is to be kept: whoever makes tables has to say which one they need.
      await admin(`CREATE DATABASE ${name} CHARACTER SET latin1`, `GRANT ALL ON ${name}.* TO 'gantry'@'%'`);
      return name;
    },
  };
}
