import { needs, ownPostgres } from '../../engines/index.ts';
import { testEffects } from '../../engines/odb-effects.ts';
import { testOutage } from '../../engines/odb-outage.ts';
import { odbDatabase } from '../../engines/odb-plugins.ts';
import { testRace } from '../../engines/odb-race.ts';
import { testRuns } from '../../engines/odb-runs.ts';
import { testOdb } from '../../kit/index.ts';

describe('odb.sequelize on PostgreSQL', () => {
  const dialect = 'dialect.postgres';
  const engine = needs(ownPostgres);
  const config = async () => {
    const { host, port, user, password } = engine();
    return { host, port, user, password, database: await engine().database() };
  };

  testOdb({
    name: 'PostgreSQL',
    database: async () => odbDatabase(dialect, await config()),
  });
  testRace(dialect, config);
  testEffects({ dialect, config, engine });
  testRuns({ dialect, config, engine });
  testOutage({
    dialect,
    engine,
    config,
    countSql: "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE usename = 'gantry'",
  });
});
