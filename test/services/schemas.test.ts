import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { loader } from '../../core/doors.ts';
import { Logs } from '../../core/log/log.ts';
import { Process } from '../../core/process.ts';
import { compileCheck, compileOutput } from '../../core/schema/check.ts';
import type { Service } from '../../core/service.ts';

const folder = path.resolve(import.meta.dirname, '../../services');

/** A server compiles these at the first call, and would find out only then. */
describe('the schemas of our own services', () => {
  it('are valid, all of them', async function () {
    this.timeout(60_000);
    const files = await loader.services(readdirSync(folder).map((name) => path.join(folder, name)));
    const ours = files.filter((one) => 'isOurs' in one && one.isOurs);
    const process = new Process({ logs: new Logs({ level: 'silent' }) }).create([]);
    expect(process.deployFiles(ours)).to.deep.equal([]);
    const slots = process.cradle.services.list();
    expect(slots.length).to.be.at.least(100);
    for (const { name, service } of slots) {
      const { input, output } = service as Service;
      for (const schema of [input, output]) compileCheck(schema, name);
      compileOutput(output, name);
    }
  });
  it('are told from those of operators, which are compiled at once', async () => {
    const [one] = await loader.services([path.resolve(import.meta.dirname, '../bench/services')]);
    expect(one).to.include({ isOurs: false });
    const [demo] = await loader.services([path.join(folder, 'demo')]);
    expect(demo).to.include({ isOurs: false });
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
