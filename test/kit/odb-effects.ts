import { expect } from 'chai';
import type { Odb, RunSql } from '../../core/ports/odb.ts';
import { type OdbWorld, refusal } from './odb-world.ts';

const TABLE = 'CREATE TABLE kit_effects (id VARCHAR(60) PRIMARY KEY, n INTEGER NOT NULL, note VARCHAR(200))';

/** What the odb promises of once() and forget(). */
export function testOdbEffects(world: OdbWorld): void {
  describe('effects', () => {
    before(() => world.run(TABLE));

    /** One row, which a second one of the same kind would be refused beside. */
    const add =
      (id: string, n = 1) =>
      async (run: RunSql) => {
        const { changed } = await run('INSERT INTO kit_effects (id, n) VALUES ($1, $2)', [id, n]);
        return { id, n, changed };
      };
    /** How often it was there: seen by another server, in a transaction of its own. */
    const count = async (id: string): Promise<number> => {
      const of = `count ${id} ${Math.random()}`;
      const { value } = await world.other.once(of, async (run) => {
        const { rows } = await run('SELECT id, n FROM kit_effects WHERE id = $1', [id]);
        return rows.length;
      });
      return value;
    };
    /** Where the first asking has its hands on the key, and until when. */
    const held = () => {
      let [enter, leave] = [() => {}, () => {}];
      const entered = new Promise<void>((resolve) => (enter = resolve));
      const left = new Promise<void>((resolve) => (leave = resolve));
      return { entered, enter, left, leave };
    };

    testOnce(world, add, count);
    testTogether(world, add, count, held);
    testWork(world, count);
    testRun(world);
    testForget(world);
  });
}

type Add = (id: string, n?: number) => (run: RunSql) => Promise<{ id: string; n: number; changed: number }>;
type Count = (id: string) => Promise<number>;

function testOnce(world: OdbWorld, add: Add, count: Count): void {
  it('are made once: whoever asks again is given what was kept, and nothing is run', async () => {
    const key = world.kind();
    const expected = { id: key, n: 1, changed: 1 };
    expect(await world.odb.once(key, add(key))).to.deep.equal({ first: true, value: expected });
    for (const odb of [world.odb, world.other]) {
      const again = await odb.once(key, () => expect.fail('it was run again'));
      expect(again).to.deep.equal({ first: false, value: expected });
    }
    expect(await count(key)).to.equal(1);
  });

  it('without a key are transactions: each is run, one that fails is undone, and nothing is kept', async () => {
    const [one, other] = [world.kind(), world.kind()];
    const expected = { id: one, n: 1, changed: 1 };
    expect(await world.odb.once(null, add(one))).to.deep.equal({ first: true, value: expected });
    expect(await world.odb.once(null, add(other))).to.deep.include({ first: true });
    const failed = world.odb.once(null, async (run) => {
      await run('DELETE FROM kit_effects WHERE id = $1', [one]);
      throw new Error('undone');
    });
    expect(await failed.catch((error: Error) => error.message)).to.equal('undone');
    expect([await count(one), await count(other)]).to.deep.equal([1, 1]);
    await world.odb.forget(new Date(Date.now() + 60_000));
    await world.odb.once(null, async () => 1);
    expect(await world.odb.forget(new Date(Date.now() + 60_000))).to.equal(0);
  });

  it('keep JSON: both the first and the second asking are given what that gives back', async () => {
    const value = {
      at: new Date(0),
      none: undefined,
      list: [undefined, NaN, "\0 \ud800 ä 😀 $1 $$ ? \\ '"],
      'a.b': { c: '' },
    };
    const given: readonly [unknown, unknown][] = [
      [value, JSON.parse(JSON.stringify(value))],
      [undefined, null],
      [null, null],
      ['null', 'null'],
      ['', ''],
      [0, 0],
      [false, false],
      [[], []],
      ['x'.repeat(64 * 1024 - 2), 'x'.repeat(64 * 1024 - 2)],
    ];
    for (const [gave, expected] of given) {
      const key = world.kind();
      expect(await world.odb.once(key, async () => gave)).to.deep.equal({ first: true, value: expected });
      const again = await world.other.once(key, async () => 'another');
      expect(again).to.deep.equal({ first: false, value: expected });
    }
  });

  it('tell keys apart exactly', async () => {
    const keys = [
      'k',
      'K',
      'k ',
      ' k',
      'ḱ',
      'k\u0301',
      '😀',
      'x'.repeat(200),
      '😀'.repeat(200),
      '$1',
      "'",
      '%',
      'null',
    ];
    for (const key of keys) expect((await world.odb.once(key, async () => key)).first, key).to.equal(true);
    for (const key of keys) {
      expect(await world.odb.once(key, async () => 'x'), key).to.deep.equal({ first: false, value: key });
    }
  });

  it('refuse keys that no database could keep: INVALID', async () => {
    for (const key of ['', 'a\0b', '\ud800', 'x'.repeat(201), '😀'.repeat(201), undefined as never, 5 as never]) {
      const error = await refusal(
        'INVALID',
        world.odb.once(key, () => expect.fail('it was run')),
        'key',
      );
      expect(error.problems?.[0]?.path).to.equal('/key');
      expect(error.hint).to.be.a('string');
    }
  });

  it('refuse what is too large or no JSON, and undo it: INVALID', async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const [value, told] of [
      ['x'.repeat(64 * 1024 - 1), 'too large'],
      ['ä'.repeat(33 * 1024), 'too large'],
      [circle, 'no JSON'],
      [1n, 'no JSON'],
    ] as const) {
      const key = world.kind();
      const doing = world.odb.once(key, async (run) => {
        await add(key)(run);
        return value;
      });
      const error = await refusal('INVALID', doing, key);
      expect(error.problems?.[0]?.message).to.include(told);
      expect(await count(key)).to.equal(0);
      expect((await world.odb.once(key, add(key))).first).to.equal(true);
    }
  });
}

function testTogether(
  world: OdbWorld,
  add: Add,
  count: Count,
  held: () => { entered: Promise<void>; enter(): void; left: Promise<void>; leave(): void },
): void {
  it('are made by one of 20 that ask at once on two servers, and all are given the same', async () => {
    for (let round = 0; round < 5; round++) {
      const key = world.kind();
      let runs = 0;
      const asking = Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? world.odb : world.other).once(key, async (run) => {
          runs++;
          await add(key, i)(run);
          return { i, random: Math.random() };
        }),
      );
      const all = await Promise.all(asking);
      expect(runs).to.equal(1);
      expect(all.filter((one) => one.first)).to.have.lengthOf(1);
      for (const { value } of all) expect(value).to.deep.equal(all[0]?.value);
      expect(await count(key)).to.equal(1);
    }
  });

  for (const [where, askOf] of [
    ['the same server', (w: OdbWorld): Odb => w.odb],
    ['another server', (w: OdbWorld): Odb => w.other],
  ] as const) {
    it(`wait for one under way, on ${where}, and run where that failed`, async () => {
      const key = world.kind();
      const { entered, enter, left, leave } = held();
      const failure = new Error('it failed');
      const order: string[] = [];
      const first = world.odb
        .once(key, async (run) => {
          await add(key)(run);
          enter();
          await left;
          order.push('first');
          throw failure;
        })
        .catch((error: unknown) => error);
      await entered;
      const others = Array.from({ length: 3 }, () =>
        askOf(world).once(key, async (run) => {
          order.push('second');
          return add(key, 2)(run);
        }),
      );
      leave();
      expect(await first).to.equal(failure);
      const ends = await Promise.all(others);
      expect(order).to.deep.equal(['first', 'second']);
      expect(ends.filter((end) => end.first)).to.have.lengthOf(1);
      expect(ends.map((end) => end.value.n)).to.deep.equal([2, 2, 2]);
      expect(await count(key)).to.equal(1);
    });
  }

  it('of other keys go on meanwhile, or take turns: each is made, and what was counted adds up', async () => {
    const sum = world.kind();
    await world.odb.once(sum, add(sum, 0));
    const works = Array.from({ length: 40 }, (_, i) =>
      (i % 2 === 0 ? world.odb : world.other).once(`${sum} ${i % 20}`, async (run) => {
        await run('UPDATE kit_effects SET n = n + $1 WHERE id = $2', [1, sum]);
        return i % 20;
      }),
    );
    const all = await Promise.all(works);
    expect(all.map((one) => one.value)).to.deep.equal(all.map((_, i) => i % 20));
    expect(all.filter((one) => one.first)).to.have.lengthOf(20);
    const { value } = await world.odb.once(`${sum} told`, (run) =>
      run('SELECT n FROM kit_effects WHERE id = $1', [sum]),
    );
    expect(Number(Object.values(value.rows[0] ?? {})[0])).to.equal(20);
  });

  it('do not touch the revisions of records', async () => {
    const before = await world.odb.revision();
    await world.odb.once(world.kind(), async () => 1);
    expect(await world.odb.revision()).to.equal(before);
  });
}

function testWork(world: OdbWorld, count: Count): void {
  const insert = 'INSERT INTO kit_effects (id, n) VALUES ($1, 1)';

  it('that fail are undone, and their key is free: what the work threw is thrown on as it is', async () => {
    for (const thrown of [new Error('mine'), { no: 'error' }, 'text', undefined]) {
      const key = world.kind();
      const got = await world.odb
        .once(key, async (run) => {
          await run(insert, [key]);
          throw thrown;
        })
        .then(
          () => expect.fail('it did not fail'),
          (error: unknown) => ({ error }),
        );
      expect(got.error).to.equal(thrown);
      expect(await count(key)).to.equal(0);
      expect((await world.other.once(key, (run) => run(insert, [key]))).first).to.equal(true);
    }
  });

  it('whose work throws at once and not later are undone, too', async () => {
    const key = world.kind();
    const failure = new Error('at once');
    const got: unknown = await world.odb
      .once(key, () => {
        throw failure;
      })
      .catch((error: unknown) => error);
    expect(got).to.equal(failure);
    expect((await world.odb.once(key, async () => 1)).first).to.equal(true);
  });

  it('are undone where a statement failed, even if the work goes on: no later statement is run', async () => {
    const key = world.kind();
    await world.odb.once(`${key} there`, (run) => run(insert, [`${key} there`]));
    const codes: string[] = [];
    const doing = world.odb.once(key, async (run) => {
      await run(insert, [key]);
      for (const id of [`${key} there`, `${key} after`]) {
        await run(insert, [id]).catch((error: { code: string }) => codes.push(error.code));
      }
      return 'all is well';
    });
    await refusal('RECORD_DUPLICATE', doing);
    expect(codes).to.deep.equal(['RECORD_DUPLICATE', 'RECORD_DUPLICATE']);
    expect([await count(key), await count(`${key} after`)]).to.deep.equal([0, 0]);
    expect((await world.odb.once(key, async () => 1)).first).to.equal(true);
  });

  it('wait for statements that nobody waits for, and fail with them', async () => {
    const key = world.kind();
    await world.odb.once(key, async (run) => {
      for (const id of ['a', 'b', 'c']) void run(insert, [`${key} ${id}`]);
    });
    expect(await count(`${key} c`)).to.equal(1);
    const failing = world.odb.once(`${key} 2`, async (run) => {
      for (const id of ['d', 'a', 'e']) run(insert, [`${key} ${id}`]).catch(() => {});
    });
    await refusal('RECORD_DUPLICATE', failing);
    for (const id of ['d', 'e']) expect(await count(`${key} ${id}`)).to.equal(0);
  });

  it('take no statement once they have ended: INVALID', async () => {
    let kept: RunSql | null = null;
    const key = world.kind();
    await world.odb.once(key, async (run) => {
      kept = run;
    });
    const error = await refusal('INVALID', (kept as unknown as RunSql)(insert, [key]), 'ended');
    expect(error.hint).to.include('Await');
    expect(await count(key)).to.equal(0);
  });
}

function testRun(world: OdbWorld): void {
  /** The answers of statements that are run in one effect. */
  const ran = async (...statements: readonly [string, unknown[]?][]) => {
    const answers: unknown[] = [];
    await world.odb.once(world.kind(), async (run) => {
      for (const [sql, values] of statements) answers.push(await run(sql, values));
    });
    return answers as { rows: Record<string, unknown>[]; changed: number }[];
  };
  const notes = async (id: string) =>
    (await ran(['SELECT note FROM kit_effects WHERE id = $1', [id]]))[0]?.rows.map((row) => Object.values(row)[0]);

  it('give rows as plain objects, and count what was changed', async () => {
    const id = world.kind();
    const like = `${id}%`;
    const [one, two, up, none, found, absent, down] = await ran(
      ['INSERT INTO kit_effects (id, n) VALUES ($1, 1)', [`${id}a`]],
      ['INSERT INTO kit_effects (id, n) VALUES ($1, $2)', [`${id}b`, 2]],
      ['UPDATE kit_effects SET n = n + 10 WHERE id LIKE $1', [like]],
      ['UPDATE kit_effects SET n = 0 WHERE id = $1', [`${id} not there`]],
      ['SELECT id, n FROM kit_effects WHERE id LIKE $1 ORDER BY id', [like]],
      ['SELECT id, n FROM kit_effects WHERE id = $1', [`${id} not there`]],
      ['DELETE FROM kit_effects WHERE id LIKE $1', [like]],
    );
    expect([one, two, up, none, down].map((answer) => answer?.changed)).to.deep.equal([1, 1, 2, 0, 2]);
    for (const answer of [one, two, up, none, down]) expect(answer?.rows).to.deep.equal([]);
    expect(found?.changed).to.equal(0);
    expect(found?.rows.map((row) => Object.values(row).map(String))).to.deep.equal([
      [`${id}a`, '11'],
      [`${id}b`, '12'],
    ]);
    for (const row of found?.rows ?? []) expect(Object.getPrototypeOf(row)).to.equal(Object.prototype);
    expect(absent).to.deep.equal({ rows: [], changed: 0 });
  });

  it('take a value as often as it is named, and in any order', async () => {
    const id = world.kind();
    await ran(
      ['INSERT INTO kit_effects (n, note, id) VALUES ($3, $2, $1)', [id, 'note', 7]],
      ['UPDATE kit_effects SET note = $1 WHERE id = $2 AND (note = $3 OR id = $2)', ['again', id, 'note']],
    );
    expect(await notes(id)).to.deep.equal(['again']);
  });

  it('leave alone what looks like a place in texts, names and comments', async () => {
    const texts = [
      '$1',
      '$2 and $1',
      '$$',
      '$',
      '?',
      ':1',
      'a$1',
      "it''s $1",
      '-- $9',
      '/* $9 */',
      '; COMMIT',
      'ä$$$1',
    ];
    for (const text of texts) {
      const id = world.kind();
      await ran([`INSERT INTO kit_effects (id, n, note) /* $5; */ VALUES ($1, 1, '${text}') -- it's $6`, [id]]);
      expect(await notes(id), text).to.deep.equal([text.replaceAll("''", "'")]);
    }
    const id = world.kind();
    await ran([`INSERT INTO kit_effects (id, n, note) VALUES ('${id}', 1, '$1 $$ ?');`]);
    expect(await notes(id)).to.deep.equal(['$1 $$ ?']);
  });

  it('take texts of any kind as they are', async () => {
    for (const text of ["'; DROP TABLE kit_effects; --", '$1', '$$', '?', '\\', "\\'", 'ä', '{"a":1}', 'a\nb', ':1']) {
      const id = world.kind();
      await ran(['INSERT INTO kit_effects (id, n, note) VALUES ($1, $2, $3)', [id, -5, text]]);
      expect(await notes(id), text).to.deep.equal([text]);
    }
  });

  it('take null, and what is undefined for null', async () => {
    const id = world.kind();
    for (const [i, note] of [null, undefined].entries()) {
      await ran(['INSERT INTO kit_effects (id, n, note) VALUES ($1, 1, $2)', [`${id} ${i}`, note]]);
      expect(await notes(`${id} ${i}`)).to.deep.equal([null]);
    }
  });

  it('refuse what no engine would take alike: INVALID, and nothing is done', async () => {
    const note = 'UPDATE kit_effects SET note = $1';
    const given: readonly [string, unknown[], string][] = [
      [note, [], 'value(s)'],
      [note, ['a', 'b'], 'has no $2'],
      [note, [NaN], 'value'],
      [note, [{ a: 1 }], 'value'],
      [note, [['a']], 'value'],
      [note, ['a\0b'], 'value'],
      [note, ['\ud800'], 'value'],
      [note, [new Date('x')], 'value'],
      [note, [() => 1], 'value'],
      ['', [], 'no word'],
      ['-- only a comment', [], 'no word'],
      ["UPDATE kit_effects SET note = 'x'; SELECT 1", [], 'several'],
      ["UPDATE kit_effects SET note = 'x'; COMMIT;", [], 'several'],
      ...[
        'COMMIT',
        'commit work',
        '/* x */ COMMIT',
        '-- x\nROLLBACK',
        'ROLLBACK TO SAVEPOINT a',
        'BEGIN',
        'START TRANSACTION',
        'SAVEPOINT a',
        'RELEASE SAVEPOINT a',
        'END',
        'ABORT',
        'SET TRANSACTION READ ONLY',
        'SET autocommit = 1',
        'XA END a',
        'PRAGMA foreign_keys = ON',
        'LISTEN a',
        ';;COMMIT',
      ].map((sql): [string, unknown[], string] => [sql, [], 'begins with|several']),
    ];
    for (const [sql, values, told] of given) {
      const key = world.kind();
      const doing = world.odb.once(key, async (run) => {
        await run('INSERT INTO kit_effects (id, n) VALUES ($1, 1)', [key]);
        await run(sql, values);
      });
      const error = await refusal('INVALID', doing);
      expect(error.message, sql).to.match(new RegExp(told.replaceAll(/[$()]/g, '\\$&')));
      expect(error.hint, sql).to.be.a('string');
      expect(error.problems?.[0], sql).to.include.keys('path', 'expected', 'got');
      expect(await notes(key), sql).to.deep.equal([]);
    }
  });

  it('tell what is wrong with a statement: ODB_FAILED, with the words of the engine for the operator', async () => {
    for (const sql of ['SELECT nonsense FROM', 'SELECT a FROM kit_no_such_table', 'SELECT nobody FROM kit_effects']) {
      const error = await refusal('ODB_FAILED', ran([sql]), 'refused a statement');
      expect(error.kind).to.equal('bug');
      expect(error.hint).to.match(/Look at the statement.*: .{10}/);
    }
    expect(world.odb.problem).to.equal(null);
  });

  it('tell that a unique key is there: RECORD_DUPLICATE', async () => {
    const id = world.kind();
    await ran(['INSERT INTO kit_effects (id, n) VALUES ($1, 1)', [id]]);
    const again = ran(['INSERT INTO kit_effects (id, n) VALUES ($1, 1)', [id]]);
    expect((await refusal('RECORD_DUPLICATE', again, 'unique')).kind).to.equal('conflict');
  });
}

function testForget(world: OdbWorld): void {
  it('are forgotten by their time: the key is free then', async () => {
    const keys = Array.from({ length: 30 }, () => world.kind());
    const began = new Date();
    await Promise.all(keys.map((key) => world.odb.once(key, async () => key)));
    await world.odb.forget(began);
    for (const key of keys) expect((await world.odb.once(key, async () => 'x')).first, 'made later').to.equal(false);
    const later = new Date(Date.now() + 60_000);
    const [one, two] = await Promise.all([world.odb.forget(later), world.other.forget(later)]);
    expect(one + two).to.be.at.least(keys.length);
    expect(await world.odb.forget(later)).to.equal(0);
    expect(await world.odb.once(keys[0] as string, async () => 'new')).to.deep.equal({ first: true, value: 'new' });
    expect(await world.other.forget(later)).to.equal(1);
  });

  it('are forgotten many at a time, each counted once', async () => {
    await world.odb.forget(new Date(Date.now() + 60_000));
    const many = Array.from({ length: 1100 }, (_, i) => `many ${i}`);
    while (many.length > 0) await Promise.all(many.splice(0, 50).map((key) => world.odb.once(key, async () => null)));
    expect(await world.odb.forget(new Date(Date.now() + 60_000))).to.equal(1100);
  });

  it('are not forgotten before a time that is none: INPUT_INVALID', async () => {
    await refusal('INPUT_INVALID', world.odb.forget(new Date('never')));
  });
}
