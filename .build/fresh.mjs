// Fails where a generated file is not what it would be if it were generated now.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** File -> the command that generates it, and how to run that command. */
const GENERATED = {
  'config/schema.json': { args: ['dist/core/main.js', 'schema'], mend: 'npm run schema' },
  'docs/configuration.md': { args: ['--import', 'tsx', '.build/config-docs.ts'], mend: 'npm run schema' },
};

let stale = 0;
for (const [file, { args, mend }] of Object.entries(GENERATED)) {
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    cwd: home,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`${args.join(' ')} failed: ${stderr}`);
  if (readFileSync(path.join(home, file), 'utf8') === stdout) continue;
  stale++;
  process.stderr.write(`${file} is stale: run '${mend}' and commit it.\n`);
}
process.exit(stale === 0 ? 0 : 1);
