import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type { BusEvent } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../plugins/bus-memory/index.ts';
import { testBus } from '../../kit/bus.ts';

describe('bus.memory', () => {
  describe('contract', () => testBus({ plugin: plugin as unknown as Plugin, reachesOthers: false }));

  it('loses none, tells none twice, and keeps their order', async () => {
    const kernel = new Process({ logs: new Logs({ level: 'silent' }) });
    await kernel.create([{ id: plugin.id, plugin: plugin as unknown as Plugin, config: {} }]).start();
    const { bus } = kernel.cradle;
    const heard: BusEvent[] = [];
    bus.subscribe((one) => void heard.push(one));
    const told = Array.from({ length: 100 }, (_, revision): BusEvent => ({ topic: 'changed', revision, from: 'a' }));
    for (const one of told) bus.publish(one);
    expect(heard).to.deep.equal([]);
    await turn();
    expect(heard).to.deep.equal(told);
    await kernel.stop();
  });
});
