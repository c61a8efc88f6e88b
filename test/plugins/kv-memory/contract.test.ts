import path from 'node:path';
import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Kv } from '../../../core/ports/kv.ts';
import { Process } from '../../../core/process.ts';
import { Entries } from '../../../plugins/kv-memory/entries.ts';
import plugin from '../../../plugins/kv-memory/index.ts';
import { testKv } from '../../kit/kv.ts';

const _plugins = path.resolve(import.meta.dirname, '../../../plugins');

describe('kv.memory', () => {
  describe('contract', () => testKv({ plugin: plugin as unknown as Plugin, shared: false }));

  describe('when it is full', () => {
    const kernels: Process[] = [];
    let kv: Kv;
    beforeEach(async () => {
      const kernel = new Process({ logs: new Logs({ level: 'silent' }) });
      kernel.create([{ id: plugin.id, plugin: plugin as unknown as Plugin, config: { maxBytes: 1_000_000 } }]);
      kernels.push(kernel);
      await kernel.start();
      kv = kernel.cradle.kv;
    });
    afterEach(() => Promise.all(kernels.splice(0).map((kernel) => kernel.stop())));

    const full = async (doing: Promise<unknown>) => {
      const error = await doing.then(
        () => new Error('there was room'),
        (thrown: unknown) => thrown,
      );
      expect(error).to.include({ code: 'KV_UNAVAILABLE', retryable: true });
      expect(error).to.have.property('hint').that.includes('maxBytes');
    };

    it('adds nothing, changes nothing, and lets nothing go', async () => {
      const fence = await kv.acquire('lock', 600_000);
      await kv.set('big', 'a'.repeat(900_000));
      await kv.set('small', '1');
      await full(kv.set('another', 'b'.repeat(100_000)));
      await full(kv.set('small', 'b'.repeat(100_000)));
      await full(kv.swap('small', '1', 'b'.repeat(100_000)));
      await full(kv.hashSet('hash', { a: 'b'.repeat(100_000) }));
      expect(await kv.getMany(['small', 'another'])).to.deep.equal(['1', null]);
      expect(await kv.hashAll('hash')).to.deep.equal({});
      expect(await kv.acquire('lock', 600_000)).to.equal(null);
      expect(await kv.release('lock', fence as number)).to.equal(true);
    });

    it('takes no lock for which there is no room', async () => {
      await kv.set('big', 'a'.repeat(999_700));
      await full(kv.acquire('l'.repeat(500), 600_000));
      await kv.remove('big');
      expect(await kv.acquire('l'.repeat(500), 600_000)).to.be.a('number');
    });

    it('has room again for what was removed, made smaller, or is over', async () => {
      const big = 'a'.repeat(600_000);
      await kv.set('one', big);
      await full(kv.set('two', big));
      await kv.set('one', '');
      await kv.set('two', big, { ttlMs: 20 });
      for (const end = Date.now() + 10_000; (await kv.get('two')) !== null && Date.now() < end; )
        await new Promise((resolve) => setTimeout(resolve, 5));
      await kv.set('three', big);
      await kv.remove('three');
      await kv.hashSet('hash', { a: big });
      await kv.hashRemove('hash', 'a');
      await kv.set('four', big);
    });

    it('makes room of what is over though nobody asked for it', async () => {
      for (let i = 0; i < 9; i++) await kv.set(`short ${i}`, 'a'.repeat(100_000), { ttlMs: 20 });
      const big = 'a'.repeat(900_000);
      for (const end = Date.now() + 10_000; ; await new Promise((resolve) => setTimeout(resolve, 5))) {
        if (await kv.set('big', big).catch(() => false)) break;
        expect(Date.now(), 'there is room').to.be.below(end);
      }
      expect((await kv.list('')).keys).to.deep.equal(['big']);
    });
  });

  describe('its entries', () => {
    it('take no bytes once they are gone, whichever way', () => {
      const entries = new Entries(1_000_000);
      for (let i = 0; i < 100; i++) entries.put(`a${i}`, 'x'.repeat(i), Number.POSITIVE_INFINITY);
      for (let i = 0; i < 100; i++) entries.put(`a${i}`, 'y', Number.POSITIVE_INFINITY);
      for (let i = 0; i < 100; i++) entries.put(`b${i}`, new Map([['f', 'z'.repeat(i)]]), performance.now() - 1);
      for (let i = 0; i < 50; i++) entries.find(`b${i}`);
      for (let i = 0; i < 100; i++) entries.putFields('c', [[`f${i % 10}`, 'z'.repeat(i)]]);
      expect(
        entries.removeFields('c', ['f0', 'f0', 'none', ...Array.from({ length: 9 }, (_, i) => `f${i + 1}`)]),
      ).to.equal(10);
      entries.sweep();
      for (let i = 0; i < 100; i++) entries.remove(`a${i}`);
      expect(entries.bytes).to.equal(0);
      expect([...entries.names()]).to.deep.equal([]);
    });

    it('are swept some at a time, and all of them in the end', () => {
      const entries = new Entries(1_000_000);
      for (let i = 0; i < 100; i++) entries.put(`a${i}`, 'x', i % 2 ? performance.now() - 1 : Number.POSITIVE_INFINITY);
      const before = entries.bytes;
      entries.sweep(10);
      expect(entries.bytes).to.be.within(before * 0.9, before - 1);
      for (let i = 0; i < 11; i++) entries.sweep(10);
      expect(entries.bytes).to.equal(before / 2);
    });
  });
});
