import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sqlite from '../../plugins/dialect-sqlite/index.ts';
import odb from '../../plugins/odb-sequelize/index.ts';
import { testOdb } from '../kit/index.ts';

testOdb({
  name: 'odb.sequelize on SQLite',
  async database() {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-sqlite-'));
    return {
      plugins: [
        { id: sqlite.id, plugin: sqlite, config: { file: path.join(folder, 'kit.sqlite') } },
        { id: odb.id, plugin: odb, config: {} },
      ] as never,
      drop: async () => rmSync(folder, { recursive: true, force: true }),
    };
  },
});
