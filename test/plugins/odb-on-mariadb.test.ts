import { mariadb, needs } from '../engines/index.ts';
import { testOutage } from '../engines/odb-outage.ts';
import { odbPlugins } from '../engines/odb-plugins.ts';
import { testRace } from '../engines/odb-race.ts';
import { testOdb } from '../kit/index.ts';

describe('odb.sequelize on MariaDB', () => {
  const dialect = 'dialect.mysql';
  const engine = needs(mariadb);
  const config = async () => {
    const { host, port, user, password } = engine();
    return { host, port, user, password, database: await engine().database() };
  };

  testOdb({
    name: 'MariaDB',
    database: async () => ({ plugins: odbPlugins(dialect, await config()), drop: async () => {} }),
  });
  testRace(dialect, config);
  testOutage({
    dialect,
    engine,
    config,
    countSql: "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'gantry'",
  });
});
