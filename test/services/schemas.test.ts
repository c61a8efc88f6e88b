import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { readServices } from '../../core/loading/services.ts';
import { compileCheck, compileOutput } from '../../core/schema/check.ts';

const folder = path.resolve(import.meta.dirname, '../../services');

/** A server compiles these at the first call, and would find out only then. */
describe('the schemas of our own services', () => {
  it('are valid, all of them', async function () {
    this.timeout(60_000);
    const files = await readServices(readdirSync(folder).map((name) => path.join(folder, name)));
    expect(files.length).to.be.at.least(100);
    for (const one of files) {
      if ('refused' in one) throw one.refused;
      const { input, output } = one.service;
      expect(one.isOurs, one.name).to.equal(true);
      for (const schema of [input, output]) compileCheck(schema, one.name);
      compileOutput(output, one.name);
    }
  });
  it('are told from those of operators, which are compiled at once', async () => {
    const [one] = await readServices([path.resolve(import.meta.dirname, '../bench/services')]);
    expect(one).to.include({ isOurs: false });
  });
});

describe('a schema that is compiled later', () => {
  const wrong = { type: 'no such type' };

  it('is refused at its first use, and one that is compiled now at once', () => {
    expect(() => compileCheck(wrong, 'a')).to.throw('a has a schema that is not valid');
    expect(() => compileOutput(wrong, 'b')).to.throw('b has a schema that is not valid');
    const check = compileCheck(wrong, 'a', 'later');
    expect(() => check(1)).to.throw('a has a schema that is not valid');
    compileOutput(wrong, 'b', 'later');
  });
  it('checks as one that is compiled now', () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
    const [now, later] = [compileCheck(schema, 'a'), compileCheck({ ...schema }, 'a', 'later')];
    for (const value of [{ a: 1 }, { a: 'x' }, {}, 3]) expect(later(value)).to.deep.equal(now(value));
    expect(compileOutput(schema, 'a', 'later')({ a: 1, b: 2 })).to.deep.equal({ a: 1 });
  });
});
