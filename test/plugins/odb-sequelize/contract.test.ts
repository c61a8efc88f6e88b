import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { odbDatabase } from '../../engines/odb-plugins.ts';
import { testOdb } from '../../kit/index.ts';

testOdb({
  name: 'odb.sequelize on SQLite',
  async database() {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-sqlite-'));
    const drop = async () => rmSync(folder, { recursive: true, force: true });
    return odbDatabase('dialect.sqlite', { file: path.join(folder, 'kit.sqlite') }, drop);
  },
});
