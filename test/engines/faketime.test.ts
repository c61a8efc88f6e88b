import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { expect } from 'chai';
import { FakedClock, faketime } from './faketime.ts';

const HOUR_S = 3600;
/** Between the two questions, on a busy machine; an hour is more. */
const CLOSE_MS = 60_000;

/** Says its two clocks for each line that it reads. */
const PROGRAM = `require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  console.log(JSON.stringify([Date.now(), Number(process.hrtime.bigint() / 1000000n)]));
});`;

describe('a clock that is set for one program', () => {
  let folder: string;
  let child: ChildProcess;
  let lines: Interface;
  let clock: FakedClock;

  before(function () {
    const library = faketime();
    if (library === null) return this.skip();
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-faketime-'));
    clock = new FakedClock(library, path.join(folder, 'clock'));
    child = spawn(process.execPath, ['-e', PROGRAM], {
      env: { PATH: process.env['PATH'] ?? '', ...clock.env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    lines = createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> });
  });
  after(() => {
    child?.kill('SIGKILL');
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** How far it is ahead of this process: on the wall, and by the clock that nobody sets. */
  async function ahead(): Promise<{ wallMs: number; steadyMs: number }> {
    const said = once(lines, 'line');
    child.stdin?.write('?\n');
    const [wall, steady] = JSON.parse(String((await said)[0])) as [number, number];
    return { wallMs: wall - Date.now(), steadyMs: steady - Number(process.hrtime.bigint() / 1_000_000n) };
  }

  for (const offsetS of [0, HOUR_S, -HOUR_S, 0]) {
    it(`shows ${offsetS} s more on the wall, and the same on the clock that nobody sets`, async () => {
      clock.set(offsetS);
      const { wallMs, steadyMs } = await ahead();
      expect(wallMs).to.be.within(offsetS * 1000 - CLOSE_MS, offsetS * 1000 + CLOSE_MS);
      expect(steadyMs).to.be.within(-CLOSE_MS, CLOSE_MS);
    });
  }

  it('leaves this process alone', () => {
    clock.set(HOUR_S);
    const byFile = Date.now();
    expect(Math.abs(byFile - (performance.timeOrigin + performance.now()))).to.be.below(CLOSE_MS);
  });
});
