import { expect } from 'chai';
import { defineService, Type } from '../../../core/api.ts';
import { Call } from '../../../core/call.ts';
import { durably } from '../../../core/calls/durable.ts';
import { isGantryError } from '../../../core/errors.ts';
import type { DurableCall, Scheduler } from '../../../core/ports/scheduler.ts';
import { serve } from '../../fixtures/direct.ts';

/** A scheduler that only keeps what it is given. */
function keeping() {
  const kept: DurableCall[] = [];
  const accept = async (call: DurableCall) => `token ${kept.push(call)}`;
  return { kept, scheduler: { accept } as unknown as Scheduler };
}

describe('durable calls', () => {
  it('are handed on with what they need to run later, elsewhere', async () => {
    const { kept, scheduler } = keeping();
    const call = new Call('a channel', { cid: 'the cid', method: 'POST', traceparent: '00-trace' });
    call.identity = { name: 'somebody', roles: ['a', 'b'] };
    const options = {
      ...{ callback: 'back', verb: 'put', timeoutMs: 500 },
      durable: { attempts: 3, backoffMs: 5, maxBackoffMs: 50, afterMs: 7, key: 'k' },
    };
    expect(await durably(scheduler, 'a.service', { n: 1 }, call, options)).to.equal('token 1');
    expect(kept[0]).to.deep.equal({
      ...{ service: 'a.service', input: { n: 1 }, verb: 'put', cid: 'the cid', channel: 'a channel' },
      ...{ identity: { name: 'somebody', roles: ['a', 'b'] }, traceparent: '00-trace', callback: 'back' },
      ...{ attempts: 3, backoffMs: 5, maxBackoffMs: 50, timeoutMs: 500, afterMs: 7, key: 'k' },
    });
    // What becomes of the caller later is not theirs.
    expect(kept[0]?.identity?.roles).to.not.equal(call.identity.roles);
  });

  it('are tried ten times within minutes, unless they say otherwise', async () => {
    const { kept, scheduler } = keeping();
    await durably(scheduler, 's', undefined, new Call('c', { method: 'POST' }), { durable: true });
    expect(kept[0]).to.include({
      ...{ attempts: 10, backoffMs: 1000, maxBackoffMs: 300_000, afterMs: 0, key: null, timeoutMs: null },
      ...{ verb: 'POST', identity: null, traceparent: null, callback: null },
    });
  });

  it('have a callback by its definition, too', async () => {
    const { kept, scheduler } = keeping();
    const back = defineService({ name: 'back', input: Type.Unknown(), output: Type.Unknown(), create: () => () => {} });
    await durably(scheduler, 's', 1, new Call('c', {}), { durable: true, callback: back });
    expect(kept[0]?.callback).to.equal('back');
  });

  it('are refused where nothing keeps them, with what to add', async () => {
    const thrown = await durably(null, 'a.service', 1, new Call('c', {}), { durable: true }).catch((e: unknown) => e);
    expect(isGantryError(thrown)).to.equal(true);
    expect(thrown).to.include({ code: 'SCHEDULER_UNAVAILABLE' });
    expect((thrown as { hint: string }).hint)
      .to.include('scheduler.agenda')
      .and.include('a.service');
  });

  it('do not begin in a process without a scheduler: the service that asks is told, and nothing runs', async () => {
    let ran = 0;
    const any = { input: Type.Unknown(), output: Type.Unknown() };
    const work = defineService({ name: 'work', ...any, create: () => () => void ran++ });
    const ask = defineService({
      name: 'ask',
      ...any,
      create: () => (_input, call) => call.invokeAsync('work', {}, { durable: true }),
    });
    const { kernel, call } = await serve([work, ask]);
    const { outcome, error } = await call('ask');
    expect(outcome).to.not.equal('ok');
    expect(error?.code).to.equal('SCHEDULER_UNAVAILABLE');
    await kernel.stop();
    expect(ran).to.equal(0);
  });

  it('of a service that there is not are refused at once', async () => {
    const any = { input: Type.Unknown(), output: Type.Unknown() };
    const ask = defineService({
      name: 'ask',
      ...any,
      create: () => (_input, call) => call.invokeAsync('nobody', {}, { durable: true }),
    });
    const { kernel, call } = await serve([ask]);
    expect((await call('ask')).error?.code).to.equal('INVOCATION_INVALID');
    await kernel.stop();
  });
});
