import { mariadb, needs } from '../../engines/index.ts';
import { odbDatabase } from '../../engines/odb-plugins.ts';
import { testScheduler } from '../../kit/index.ts';
import { quickScheduler } from './fixtures/quick.ts';

describe('scheduler.agenda on MariaDB', () => {
  const engine = needs(mariadb);

  testScheduler({
    name: 'MariaDB',
    scheduler: quickScheduler,
    database: async () => {
      const { host, port, user, password } = engine();
      const database = await engine().database();
      return odbDatabase('dialect.mysql', { host, port, user, password, database });
    },
  });
});
