import { needs, postgres } from '../../engines/index.ts';
import { odbDatabase } from '../../engines/odb-plugins.ts';
import { testScheduler } from '../../kit/index.ts';
import { quickScheduler } from './fixtures/quick.ts';

describe('scheduler.agenda on PostgreSQL', () => {
  const engine = needs(postgres);

  testScheduler({
    name: 'PostgreSQL',
    scheduler: quickScheduler,
    database: async () => {
      const { host, port, user, password } = engine();
      const database = await engine().database();
      return odbDatabase('dialect.postgres', { host, port, user, password, database });
    },
  });
});
