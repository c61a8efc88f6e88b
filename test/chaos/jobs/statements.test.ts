import { expect } from 'chai';
import { Statements } from './statements.ts';

/** As the driver sends them: a length, and a type before it but for the first. */
function message(type: string, ...parts: readonly (string | number)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'number' ? int(part) : Buffer.from(`${part}\0`))));
  return Buffer.concat([Buffer.from(type), int(body.length + 4), body]);
}
function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

const SAID = Buffer.concat([
  message('', 80_877_103),
  message('', 196_608, 'user', 'gantry', ''),
  message('p', 'password'),
  message('Q', 'SELECT 1'),
  message('P', 'named', 'SELECT $1 -- q'),
  message('B', '', ''),
  message('E', '', 0),
  message('S'),
  message('Q', 'SELECT 1'),
]);

describe('what a program says to PostgreSQL', () => {
  for (const size of [SAID.length, 1, 3, 7, 64]) {
    it(`is counted by its text, though it comes in pieces of ${size} bytes`, () => {
      const statements = new Statements();
      for (let at = 0; at < SAID.length; at += size) statements.hear(1, SAID.subarray(at, at + size));
      expect([...statements.counts]).to.deep.equal([
        ['SELECT 1', 2],
        ['SELECT $1 -- q', 1],
      ]);
      expect(statements.total).to.equal(3);
      expect(statements.of(/\$1/)).to.equal(1);
      statements.clear();
      expect(statements.total).to.equal(0);
    });
  }

  it('is waited for: the second after the first, on the same connection', async () => {
    const statements = new Statements();
    let said = '';
    void statements.saidAfter(/^INSERT/, /^COMMIT/).then(() => (said = 'yes'));
    const say = async (connection: number, text: string) => {
      statements.hear(connection, message('Q', text));
      await Promise.resolve();
      return said;
    };
    for (const connection of [1, 2]) statements.hear(connection, message('', 196_608, 'user', 'gantry', ''));
    expect(await say(1, 'COMMIT')).to.equal('');
    expect(await say(1, 'INSERT INTO x')).to.equal('');
    expect(await say(2, 'COMMIT')).to.equal('');
    expect(await say(1, 'SELECT 1')).to.equal('');
    expect(await say(1, 'COMMIT')).to.equal('yes');
  });

  it('is apart for each connection', () => {
    const statements = new Statements();
    for (let at = 0; at < SAID.length; at++) {
      for (const connection of [1, 2]) statements.hear(connection, SAID.subarray(at, at + 1));
    }
    expect(statements.total).to.equal(6);
  });
});
