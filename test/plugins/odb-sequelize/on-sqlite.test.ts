import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { testEffects } from '../../engines/odb-effects.ts';
import { testRace } from '../../engines/odb-race.ts';
import { testRuns } from '../../engines/odb-runs.ts';

describe('odb.sequelize on SQLite', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'gantry-race-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let files = 0;

  const config = async () => ({ file: path.join(folder, `${++files}.sqlite`) });

  testRace('dialect.sqlite', config);
  testEffects({ dialect: 'dialect.sqlite', config, oneWriter: true });
  testRuns({ dialect: 'dialect.sqlite', config });
});
