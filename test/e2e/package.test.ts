import { execFileSync, spawn } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { folder, follow, freePort, home } from './process.ts';

/** Runs a command of the stranger's, in its folder; its output is the message where it fails. */
function run(cwd: string, command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (thrown) {
    const { stdout, stderr } = thrown as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(' ')} failed\n${stdout}\n${stderr}`);
  }
}

describe("a stranger's transport, against the packed tarball", () => {
  const place = folder();
  const example = path.join(home, 'docs/examples/transport-lines');
  const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
  };

  before(function () {
    this.timeout(240_000);
    const packed = run(home, 'npm', 'pack', '--ignore-scripts', '--silent', '--pack-destination', place.dir);
    cpSync(example, place.dir, { recursive: true });
    const tools = ['chai', 'mocha', 'fast-check', 'typescript', '@types/node', '@types/mocha'].map(
      (t) => `${t}@${devDependencies[t] ?? dependencies[t]}`,
    );
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
    run(place.dir, 'npm', 'install', ...quiet, `./${packed.trim()}`, ...tools);
  });
  after(() => place.remove());

  it('is about 60 lines at most', () => {
    expect(readFileSync(path.join(example, 'index.ts'), 'utf8').split('\n').length).to.be.at.most(62);
  });
  it('compiles against the published types', function () {
    this.timeout(60_000);
    const flags = ['--module', 'nodenext', '--target', 'es2023', '--strict', '--skipLibCheck'];
    const more = ['--rewriteRelativeImportExtensions', '--types', 'node,mocha'];
    run(place.dir, 'npx', 'tsc', ...flags, ...more, 'index.ts', 'transport-lines.test.ts');
    expect(readdirSync(place.dir)).to.include.members(['index.js', 'transport-lines.test.js']);
  });
  it('passes the transport kit', function () {
    this.timeout(60_000);
    const { stats } = JSON.parse(
      run(place.dir, 'npx', 'mocha', '--reporter', 'json', '--exit', 'transport-lines.test.js'),
    ) as {
      stats: { passes: number; failures: number };
    };
    expect(stats.failures).to.equal(0);
    expect(stats.passes).to.be.at.least(15);
  });
  it('is loaded by one config entry, and serves', async function () {
    this.timeout(30_000);
    const port = await freePort();
    const config = `
plugins:
  codec.json: {}
  transport.lines: { use: ./index.js, port: ${port} }
services: [./node_modules/gantry/services/demo/hello.ts]
channels: [{ name: hello, transport: lines, address: { topic: hello }, service: demo.hello }]
`;
    writeFileSync(path.join(place.dir, 'server.yaml'), config);
    const bin = path.join(place.dir, 'node_modules/.bin/gantry');
    run(place.dir, bin, 'check', '--config', 'server.yaml');
    const args = ['start', '--config', 'server.yaml'];
    const server = follow(spawn(bin, args, { cwd: place.dir, stdio: ['ignore', 'pipe', 'pipe'] }));
    await server.says(/is ready/);
    const socket = connect(port, '127.0.0.1');
    socket.write('1\thello\t{"name":"Ada"}\n');
    const line = await new Promise((resolve) => createInterface({ input: socket }).once('line', resolve));
    expect(line).to.equal('1\tok\t{"greeting":"Hello, Ada"}');
    socket.destroy();
    expect(await server.kill('SIGTERM')).to.equal(0);
  });
  it('is packed with what a user needs, and no more', () => {
    const [pack] = JSON.parse(run(home, 'npm', 'pack', '--dry-run', '--ignore-scripts', '--json')) as {
      files: { path: string }[];
    }[];
    const files = pack?.files.map((f) => f.path) ?? [];
    expect(files.filter((f) => /\.local\.yaml$|\.test\.|^test\/|node_modules/.test(f))).to.deep.equal([]);
    expect(files).to.include.members([
      'dist/core/main.js',
      'dist/core/api.d.ts',
      'dist/test/kit/index.js',
      'README.md',
      'LICENSE',
    ]);
  });
});
