import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import { cursorOf, isCount, isText, positionIn } from '../../../plugins/odb-sequelize/cursor.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import { all, join, limit, listed, raw, type Sql, sql } from '../../../plugins/odb-sequelize/sql.ts';
import { Turns } from '../../../plugins/odb-sequelize/turns.ts';
import { journal } from '../../fixtures/direct.ts';
import { wireOdb } from '../../kit/odb-world.ts';

const text = (of: Sql) => of.text((inner) => `<${inner}>`);

describe('odb.sequelize, its SQL', () => {
  it('binds every value and quotes every name', () => {
    const made = sql`SELECT [a] FROM [t] WHERE [a] = ${"x' OR 1 = 1 --"} AND [b] > ${5} ${limit(3)}`;
    expect(text(made)).to.equal('SELECT <a> FROM <t> WHERE <a> = $1 AND <b> > $2 <limit 3>');
    expect(made.values).to.deep.equal(["x' OR 1 = 1 --", 5]);
  });

  it('puts pieces together, each value with a place of its own', () => {
    const same = sql`[a] = ${'x'}`;
    const made = sql`SELECT 1 WHERE ${join([same, raw('1 = 1'), same], ' OR ')} AND ${null} IS NULL AND ${all([])}`;
    expect(text(made)).to.equal('SELECT 1 WHERE <a> = $1 OR 1 = 1 OR <a> = $2 AND $3 IS NULL AND 1 = 1');
    expect(made.values).to.deep.equal(['x', 'x', null]);
  });

  it('lists values in powers of two, and never more than Oracle takes', () => {
    const sizes = (count: number) =>
      listed(
        raw('[a]'),
        Array.from({ length: count }, (_, i) => i),
      ).map((one) => one.values.length);
    expect(sizes(0)).to.deep.equal([]);
    expect(sizes(1)).to.deep.equal([1]);
    expect(sizes(5)).to.deep.equal([8]);
    expect(sizes(512)).to.deep.equal([512]);
    expect(sizes(1300)).to.deep.equal([512, 512, 512]);
    const [one] = listed(raw('[a]'), ['x', 'y', 'z']);
    expect(one?.values).to.deep.equal(['x', 'y', 'z', 'z']);
    expect(text(one as Sql)).to.equal('<a> IN ($1, $2, $3, $4)');
  });

  it('has few different statements, however many records change at once', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-odb-sql-'));
    const { logs, lines } = journal();
    const plugins = [
      { id: sqlite.id, plugin: sqlite as never, config: { file: path.join(folder, 'x.sqlite') } },
      { id: odb.id, plugin: odb as never, config: {} },
    ];
    const server = wireOdb(plugins, logs, folder);
    await server.start();
    lines.length = 0;
    for (let count = 1; count <= 40; count++) {
      const records = Array.from({ length: count }, (_, n) => ({ kind: 'k', name: `${count}-${n}`, body: {} }));
      const more = { fields: { f: 'x' }, references: [{ kind: 'k', name: `${count}-0` }] };
      const creates = records.map((r) => ({ action: 'create', ...r, ...more, claims: [r.name] }) as const);
      await server.odb.write(creates, { name: 'me' });
      const removes = records.map(({ kind, name }) => ({ action: 'remove', kind, name }) as const);
      await server.odb.write(removes, { name: 'me' });
    }
    const statements = lines.map((line) => String((line as unknown as { statement?: unknown }).statement ?? ''));
    const distinct = new Set(statements.map((s) => s.replace(/^Executing \([^)]*\): /, '')));
    expect(statements.length).to.be.above(1000);
    expect(distinct.size).to.be.below(100);
    expect(statements.join('\n')).to.not.include('40-39');
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('odb.sequelize, its cursors', () => {
  it('are read as they were written, for the same list only', () => {
    const cursor = cursorOf('+name', 'ä "x"', 5);
    expect(cursor).to.match(/^[A-Za-z0-9_-]+$/);
    expect(positionIn(cursor, '+name', [isText, isCount])).to.deep.equal(['ä "x"', 5]);
    for (const [of, fits] of [
      ['-name', [isText, isCount]],
      ['+name', [isText]],
      ['+name', [isText, isText]],
    ] as const) {
      expect(() => positionIn(cursor, of, fits))
        .to.throw('not known')
        .with.property('code', 'INPUT_INVALID');
    }
  });
});

describe('odb.sequelize, its turns', () => {
  it('come one after the other, in the order of asking, and pass over who went away', async () => {
    const turns = new Turns();
    const order: string[] = [];
    const gone = new AbortController();
    const enter = async (name: string, signal = new AbortController().signal) => {
      const leave = await turns.enter(signal);
      order.push(`${name} in`);
      await new Promise(setImmediate);
      order.push(`${name} out`);
      leave();
    };
    const works = [enter('a'), enter('b', gone.signal), enter('c')];
    gone.abort(new Error('went away'));
    const ends = await Promise.allSettled(works);
    expect(ends.map((end) => end.status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
    expect(order).to.deep.equal(['a in', 'a out', 'c in', 'c out']);
  });
});
