/** Security definitions by name, and several of them on one channel. */
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { Call, GantryError, type Identity, isGantryError, Type } from '../../../core/api.ts';
import { Securities } from '../../../core/calls/securities.ts';
import type { Guard } from '../../../core/ports/index.ts';

type Outcome = Identity | GantryError;

/** A guard whose definitions say what becomes of a call, at once or after a turn. */
function scripted(): ReadonlyMap<string, Guard> {
  const outcomes: Readonly<Record<string, Outcome>> = {
    ada: { name: 'ada', roles: [] },
    bob: { name: 'bob', roles: ['x'] },
    missing: new GantryError('AUTH_MISSING', 'missing', { challenge: 'Basic realm="a"' }),
    rejected: new GantryError('AUTH_REJECTED', 'rejected', { challenge: 'ApiKey header="k"' }),
    forbidden: new GantryError('AUTH_FORBIDDEN', 'forbidden'),
    busy: new GantryError('SERVER_BUSY', 'busy', { retryAfterMs: 10 }),
    broken: new Error('a bug of the guard') as GantryError,
  };
  const guard = (later: boolean): Guard => ({
    definition: Type.Object(
      { gives: Type.String(), limit: Type.Integer({ default: 3 }) },
      { additionalProperties: false },
    ),
    compile(definition) {
      const { gives } = definition as { gives: string };
      if (gives === 'nonsense') {
        const problems = [{ path: 'gives', message: 'makes no sense' }];
        throw new GantryError('CHANNEL_INVALID', 'no', { problems });
      }
      const outcome = outcomes[gives] as Outcome;
      const give = (): Identity => {
        if (outcome instanceof Error) throw outcome;
        return outcome;
      };
      return later ? async () => give() : give;
    },
  });
  return new Map([
    ['now', guard(false)],
    ['later', guard(true)],
  ]);
}

describe('security definitions', () => {
  it('that are gone leave nothing behind, unless a channel waits for them', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const securities = new Securities(scripted());
    const waiting = securities.shared(['s1']);
    const round = (from: number) => {
      for (let i = from; i < from + 30_000; i++) {
        const name = `s${i}`;
        securities.define({ name, guard: 'now', definition: { gives: 'ada' } });
        securities.shared([name]);
        securities.retire(name);
      }
    };
    const used = async () => {
      // What is forgotten is told after a collection, in a turn of its own.
      for (let i = 0; i < 5; i++) {
        collect();
        await turn();
      }
      return process.memoryUsage().heapUsed;
    };
    round(0);
    const before = await used();
    round(100_000);
    expect((await used()) - before).to.be.lessThan(1_500_000);
    expect(() => waiting(new Call('c', {}))).to.throw(GantryError, 'not available');
    securities.define({ name: 's1', guard: 'now', definition: { gives: 'bob' } });
    expect(await waiting(new Call('c', {}))).to.include({ name: 'bob' });
    expect(securities.names()).to.deep.equal(['s1']);
  });

  const define = (securities: Securities, name: string, guard: string, gives: string) =>
    securities.define({ name, guard, definition: { gives } });

  /** Who is let in and by which definition, or the error. */
  async function outcome(names: readonly [guard: string, gives: string][], call = new Call('c', {})): Promise<Outcome> {
    const securities = new Securities(scripted());
    for (const [i, [guard, gives]] of names.entries()) define(securities, `s${i}`, guard, gives);
    try {
      return await securities.shared(names.map((_, i) => `s${i}`))(call);
    } catch (thrown) {
      return thrown as GantryError;
    }
  }

  for (const guard of ['now', 'later']) {
    const other = guard === 'now' ? 'later' : 'now';
    describe(`of a guard that answers ${guard}`, () => {
      it('the first that lets in decides, and the call knows which', async () => {
        const call = new Call('c', {});
        const names: [string, string][] = [
          [guard, 'missing'],
          [other, 'rejected'],
          [guard, 'bob'],
          [other, 'ada'],
        ];
        expect([((await outcome(names, call)) as Identity).name, call.security]).to.deep.equal(['bob', 's2']);
      });
      for (const [gives, code] of [
        [['missing', 'rejected'], 'AUTH_REJECTED'],
        [['rejected', 'missing'], 'AUTH_REJECTED'],
        [['missing', 'missing'], 'AUTH_MISSING'],
        [['rejected', 'busy'], 'SERVER_BUSY'],
        [['busy', 'forbidden', 'rejected'], 'AUTH_FORBIDDEN'],
        [['missing', 'broken'], 'SERVICE_FAILED'],
      ] as const) {
        it(`of ${gives.join(', ')} the caller is told ${code}`, async () => {
          const call = new Call('c', {});
          const error = await outcome(
            gives.map((one, i) => [i % 2 === 0 ? guard : other, one]),
            call,
          );
          expect(isGantryError(error) && error.code).to.equal(code);
          expect(call.security).to.equal(null);
        });
      }
      it('every challenge is told, each once', async () => {
        const gives = ['missing', 'rejected', 'missing'];
        const error = await outcome(gives.map((one) => [guard, one]));
        expect((error as GantryError).challenge).to.equal('Basic realm="a", ApiKey header="k"');
      });
    });
  }

  it('one alone that answers at once costs no promise', () => {
    const securities = new Securities(scripted());
    define(securities, 'people', 'now', 'ada');
    expect(securities.shared(['people'])(new Call('c', {}))).to.deep.equal({ name: 'ada', roles: [] });
    define(securities, 'partners', 'now', 'rejected');
    expect(securities.shared(['partners', 'people'])(new Call('c', {}))).to.deep.equal({ name: 'ada', roles: [] });
  });
  it('a changed one counts from the next call on, in checks that were made before', () => {
    const securities = new Securities(scripted());
    const check = securities.shared(['people']);
    expect(() => check(new Call('c', {}))).to.throw('not available');
    define(securities, 'people', 'now', 'ada');
    expect(check(new Call('c', {}))).to.include({ name: 'ada' });
    define(securities, 'people', 'now', 'bob');
    expect(check(new Call('c', {}))).to.include({ name: 'bob' });
    securities.retire('people');
    expect(() => check(new Call('c', {}))).to.throw('not available');
    expect(securities.names()).to.deep.equal([]);
  });
  it('one that is not valid changes nothing, and each problem is told at its place', () => {
    const securities = new Securities(scripted());
    define(securities, 'people', 'now', 'ada');
    const refused = (definition: Record<string, unknown>, guard = 'now') => {
      try {
        securities.define({ name: 'people', guard, definition });
      } catch (thrown) {
        return (thrown as GantryError).problems?.map(({ path, hint }) => ({ path, hint }));
      }
      return expect.fail('it was defined');
    };
    expect(refused({ gives: 1 })).to.deep.equal([{ path: "security 'people'.definition.gives", hint: undefined }]);
    expect(refused({ gives: 'nonsense' })).to.deep.equal([
      { path: "security 'people'.definition.gives", hint: undefined },
    ]);
    expect(refused({ gives: 'ada' }, 'nwo')).to.deep.equal([
      { path: "security 'people'.guard", hint: "Did you mean 'now'?" },
    ]);
    expect(securities.shared(['people'])(new Call('c', {}))).to.include({ name: 'ada' });
  });
  it('the definition that is given is not changed by defaults', () => {
    const securities = new Securities(scripted());
    const given = { name: 'people', guard: 'now', definition: { gives: 'ada' } };
    securities.define(given);
    expect(given.definition).to.deep.equal({ gives: 'ada' });
  });
});
