import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { odbDatabase } from '../../engines/odb-plugins.ts';
import { testScheduler } from '../../kit/index.ts';
import { quickScheduler } from './fixtures/quick.ts';

describe('scheduler.agenda on SQLite', () => {
  testScheduler({
    name: 'SQLite',
    scheduler: quickScheduler,
    database: async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'gantry-scheduler-'));
      const drop = async () => rmSync(folder, { recursive: true, force: true });
      return odbDatabase('dialect.sqlite', { file: path.join(folder, 'odb.sqlite') }, drop);
    },
  });
});
