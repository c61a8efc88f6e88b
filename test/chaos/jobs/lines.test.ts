import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { Ledger, now, steadyMs } from './lines.ts';

describe('a ledger', () => {
  let folder: string;
  let ledger: Ledger;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-ledger-'));
    ledger = new Ledger(path.join(folder, 's1.jsonl'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const write = (text: string) => appendFileSync(ledger.file, text);
  const line = (token: string) => JSON.stringify({ event: 'start', token, server: 'ü', steadyMs: steadyMs() });
  const tokens = () => ledger.read().map(({ token }) => token);

  it('is empty before anything was run', () => {
    expect(ledger.read()).to.deep.equal([]);
  });

  it('has what was written so far, and only whole lines', () => {
    write(`${line('one')}\n${line('two')}\n`);
    expect(tokens()).to.deep.equal(['one', 'two']);
    const three = `${line('three')}\n`;
    write(three.slice(0, 30));
    expect(tokens()).to.deep.equal(['one', 'two']);
    write(three.slice(30));
    expect(tokens()).to.deep.equal(['one', 'two', 'three']);
    expect(tokens()).to.deep.equal(['one', 'two', 'three']);
  });

  it('tells when each was written, by the clock on the wall', () => {
    const before = now();
    write(`${line('one')}\n`);
    expect(ledger.read()[0]?.at).to.be.within(before, now());
    expect(Math.abs(now() - Date.now())).to.be.below(5000);
  });

  it('does not pass over a line that cannot be read', () => {
    write('{"event":\n');
    expect(() => ledger.read()).to.throw(SyntaxError);
  });
});
