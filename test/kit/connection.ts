import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import { Call } from '../../core/call.ts';
import { type GantryError, isGantryError } from '../../core/errors.ts';
import type { Connection, Outgoing } from '../../core/ports/transport.ts';

/** The other system, for real: a server, a broker, or a socket between the connection and one of those. */
export interface Peer {
  /** The numbers of the messages that arrived, in that order, those that arrived twice twice. */
  received(): readonly number[];
  /** Resolves once at least `count` messages arrived. */
  arrived(count: number): Promise<void>;
  /** From now on it takes messages and answers (or confirms) none, until release(). */
  hold(): void;
  /** Answers what it held, and what comes. */
  release(): void;
  /** Goes away at once: open sockets are closed, nothing listens at its address. */
  die(): Promise<void>;
  /** Comes back at the same address, and answers. */
  revive(): Promise<void>;
  /** For good. */
  stop(): Promise<void>;
}

export interface ConnectionUnderTest {
  /** For the titles, e.g. 'transport.rest'. */
  readonly name: string;
  /** A peer that is there, and nothing else: each test has its own. */
  peer(): Promise<Peer>;
  /** A connection to that peer, with timeouts of seconds and at most a few tries. */
  connect(peer: Peer): Promise<Connection>;
  /** The message with that number in it, which may be sent again when in doubt (idempotent, or confirmed). */
  message(n: number): Outgoing;
  /** The number in an answer; null where the other side only confirms. */
  numberIn(answer: unknown): number | null;
  /** A message that this transport cannot send: refused before anything is sent. */
  readonly unsendable: Outgoing;
  /** Longest time until a dead peer is given up, all tries included. */
  readonly giveUpMs: number;
  readonly supports: {
    /** The same connection works again when its peer is back; else the core connects anew after `lost`. */
    readonly heals: boolean;
  };
}

/** What every outgoing connection must do, whatever it speaks. */
export function testConnection(under: ConnectionUnderTest): void {
  describe(`the connection contract: ${under.name}`, () => {
    let peer: Peer;
    let connection: Connection;

    beforeEach(async () => {
      peer = await under.peer();
      connection = await under.connect(peer);
    });
    afterEach(async () => {
      peer.release();
      await connection.close();
      await peer.stop();
    });

    const send = (n: number, more: Partial<Outgoing> = {}, call?: Call) =>
      connection.send({ ...under.message(n), ...more }, call);
    const answers = (n: number, answer: unknown) => expect(under.numberIn(answer) ?? n).to.equal(n);
    const reconnect = async () => {
      if (under.supports.heals) return;
      await connection.close();
      connection = await under.connect(peer);
    };

    it('sends a message, once, and gives its answer', async () => {
      answers(7, await send(7));
      expect(peer.received()).to.deep.equal([7]);
    });

    it('works without a call and with one', async () => {
      answers(1, await send(1));
      answers(2, await send(2, {}, new Call('kit', {})));
    });

    it('never mixes the answers of 200 messages at once, nor loses or doubles one', async () => {
      const all = await Promise.all(Array.from({ length: 200 }, (_, n) => send(n)));
      for (const [n, answer] of all.entries()) answers(n, answer);
      expect([...peer.received()].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 200 }, (_, n) => n));
    });

    it('may send much at once for one call, and leaves nothing behind on its signal', async () => {
      const warnings: Error[] = [];
      const note = (warning: Error) => void warnings.push(warning);
      process.on('warning', note);
      const call = new Call('kit', {});
      await Promise.all(Array.from({ length: 50 }, (_, n) => send(n, {}, call)));
      await new Promise(setImmediate);
      process.off('warning', note);
      expect(warnings.map(String)).to.deep.equal([]);
      expect(getEventListeners(call.signal, 'abort')).to.deep.equal([]);
    });

    it('refuses what it cannot send, with a hint, and stays usable', async () => {
      const error = await failure(connection.send(under.unsendable));
      expect(error.code).to.equal('OUTGOING_MALFORMED');
      expect(error.retryable).to.equal(false);
      expect(error.hint).to.match(/\S/);
      expect(peer.received()).to.deep.equal([]);
      answers(1, await send(1));
    });

    describe('when the peer is dead', () => {
      it('rejects in bounded time with an error that says: try again', async () => {
        await peer.die();
        const startedAt = performance.now();
        const error = await failure(send(1));
        expect(performance.now() - startedAt).to.be.below(under.giveUpMs);
        expect(error.retryable, error.code).to.equal(true);
      });

      it('rejects 100 at once, each of them', async () => {
        await peer.die();
        const startedAt = performance.now();
        const errors = await Promise.all(Array.from({ length: 100 }, (_, n) => failure(send(n))));
        expect(performance.now() - startedAt).to.be.below(under.giveUpMs);
        for (const error of errors) expect(error.retryable, error.code).to.equal(true);
      });

      it('rejects the message that was in hand when it died', async () => {
        peer.hold();
        const error = failure(send(1));
        await peer.arrived(1);
        await peer.die();
        expect((await error).retryable).to.equal(true);
      });

      it('sends again when the peer is back', async () => {
        answers(1, await send(1));
        await peer.die();
        await failure(send(2));
        await peer.revive();
        await reconnect();
        answers(3, await send(3));
        expect(peer.received().at(-1)).to.equal(3);
      });
    });

    describe('ping', () => {
      it('resolves while the peer is there, and sends no message', async () => {
        await connection.ping();
        expect(peer.received()).to.deep.equal([]);
      });

      it('rejects with OUTGOING_UNAVAILABLE while it is not, and resolves again when it is back', async () => {
        await peer.die();
        expect((await failure(connection.ping())).code).to.equal('OUTGOING_UNAVAILABLE');
        await peer.revive();
        await reconnect();
        await connection.ping();
      });
    });

    describe('the time', () => {
      it('of a call ends a message that is not answered', async () => {
        peer.hold();
        const call = new Call('kit', {});
        call.deadlineAt = performance.now() + 100;
        const startedAt = performance.now();
        const error = await failure(send(1, {}, call));
        expect(error.kind).to.equal('timeout');
        expect(performance.now() - startedAt).to.be.within(90, 1000);
      });

      it('of a message ends it, too', async () => {
        peer.hold();
        const startedAt = performance.now();
        const error = await failure(send(1, { timeoutMs: 100 }));
        expect(error.kind).to.equal('timeout');
        expect(performance.now() - startedAt).to.be.within(90, 1000);
      });

      it('that is over sends nothing', async () => {
        const call = new Call('kit', {});
        call.deadlineAt = performance.now() - 1;
        expect((await failure(send(1, {}, call))).kind).to.equal('timeout');
        answers(2, await send(2));
        expect(peer.received()).to.deep.equal([2]);
      });

      it('of many that are not answered leaves the connection usable', async () => {
        peer.hold();
        const errors = await Promise.all(Array.from({ length: 100 }, (_, n) => failure(send(n, { timeoutMs: 100 }))));
        for (const error of errors) expect(error.kind, error.code).to.equal('timeout');
        peer.release();
        answers(1000, await send(1000));
      });
    });

    describe('a call that is aborted', () => {
      it('ends its message at once, with its reason', async () => {
        peer.hold();
        const call = new Call('kit', {});
        const error = failure(send(1, {}, call));
        await peer.arrived(1);
        call.abort(undefined);
        expect((await error).code).to.equal('CALL_ABORTED');
      });

      it('before it sends anything sends nothing', async () => {
        const call = new Call('kit', {});
        call.abort(undefined);
        expect((await failure(send(1, {}, call))).code).to.equal('CALL_ABORTED');
        answers(2, await send(2));
        expect(peer.received()).to.deep.equal([2]);
      });

      it('gives what is no error of ours as the cause', async () => {
        const call = new Call('kit', {});
        const reason = new Error('somebody else');
        call.abort(reason);
        expect((await failure(send(1, {}, call))).cause).to.equal(reason);
      });
    });

    describe('close', () => {
      it('lets the message in hand end, and takes no other', async () => {
        peer.hold();
        const inHand = send(1);
        await peer.arrived(1);
        let closed = false;
        const closing = connection.close().then(() => {
          closed = true;
        });
        expect((await failure(send(2))).code).to.equal('OUTGOING_UNAVAILABLE');
        expect(closed, 'closed with a message in hand').to.equal(false);
        peer.release();
        answers(1, await inHand);
        await closing;
        expect((await failure(send(3))).code).to.equal('OUTGOING_UNAVAILABLE');
        expect((await failure(connection.ping())).code).to.equal('OUTGOING_UNAVAILABLE');
        expect(peer.received()).to.deep.equal([1]);
      });

      it('ends although the message in hand is never answered', async () => {
        peer.hold();
        const error = failure(send(1, { timeoutMs: 100 }));
        await peer.arrived(1);
        await connection.close();
        expect((await error).kind).to.equal('timeout');
      });

      it('may be called twice, and before anything was sent', async () => {
        await Promise.all([connection.close(), connection.close()]);
        await connection.close();
      });
    });
  });
}

/** The GantryError that a promise rejects with; whatever else happens fails the test. */
export async function failure(promise: Promise<unknown>): Promise<GantryError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (thrown) {
    if (isGantryError(thrown)) return thrown;
    throw new Error('It rejected with what is no GantryError', { cause: thrown });
  }
  throw new Error(`It resolved, with ${JSON.stringify(value)}`);
}
