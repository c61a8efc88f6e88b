import { randomBytes } from 'node:crypto';
import type { Connection } from 'oracledb';
import driver from 'oracledb';

/** `oracle://user:password@host:port/service`; the user may make users. */
const URL_NAME = 'GANTRY_TEST_ORACLE_URL';

export interface OracleServer {
  /** A dialect's block for a fresh user, who has no tables. */
  config(): Promise<Readonly<Record<string, unknown>>>;
  /** Removes the users that were made. */
  drop(): Promise<void>;
}

let isTold = false;

/**
 * In a describe block: a server of Oracle for its tests, which are pending where none is named. There is none to be
 * installed, so they are on CI, too.
 */
export function oracleServer(): OracleServer {
  const { [URL_NAME]: address } = process.env;
  const users: string[] = [];
  before(function () {
    if (address !== undefined) return;
    if (!isTold) {
      process.stderr.write(
        '\nSKIPPED: the tests on Oracle do not run here, since no server is named. What is asked of Oracle is tested by\n' +
          `rules; what Oracle answers is not. To run them: ${URL_NAME}=oracle://user:password@host:1521/service\n\n`,
      );
    }
    isTold = true;
    this.skip();
  });
  const at = new URL(address ?? 'oracle://nobody@127.0.0.1:1521/none');
  const service = at.pathname.slice(1);
  const [host, port] = [at.hostname, Number(at.port || 1521)];
  const admin = async (...statements: readonly string[]): Promise<void> => {
    const { getConnection } = driver as { getConnection(options: object): Promise<Connection> };
    const connection = await getConnection({
      user: decodeURIComponent(at.username),
      password: decodeURIComponent(at.password),
      connectString: `${host}:${port}/${service}`,
    });
    try {
      for (const sql of statements) await connection.execute(sql);
    } finally {
      await connection.close();
    }
  };
  return {
    async config() {
      const [user, password] = [
        `GANTRY_${randomBytes(4).toString('hex').toUpperCase()}`,
        `p${randomBytes(9).toString('hex')}`,
      ];
      await admin(
        `CREATE USER ${user} IDENTIFIED BY "${password}" QUOTA UNLIMITED ON USERS`,
        `GRANT CREATE SESSION, CREATE TABLE TO ${user}`,
      );
      users.push(user);
      return { host, port, service, user, password };
    },
    async drop() {
      if (users.length === 0) return;
      await admin(...users.splice(0).map((user) => `DROP USER ${user} CASCADE`));
    },
  };
}
