/** The contract kit of the bus port: every promise of core/ports/bus.ts. */
import { expect } from 'chai';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Bus, BusEvent } from '../../core/ports/bus.ts';
import { Process } from '../../core/process.ts';

export interface BusKit {
  readonly plugin: Plugin;
  /** Of each server; those of one kit share a bus. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Whether it tells other processes, too. One that does not is for a single server. */
  readonly reachesOthers: boolean;
  /** How long a hint may take that was not lost. Default: 2000. */
  readonly withinMs?: number;
}

interface Server {
  readonly kernel: Process;
  readonly bus: Bus;
}

export function testBus({ plugin, config = {}, reachesOthers, withinMs = 2000 }: BusKit): void {
  const lines: string[] = [];
  let servers: Server[] = [];
  let last = 0;

  /** One that no other test tells of. */
  const event = (): BusEvent => ({ topic: 'changed', revision: ++last, from: `kit ${last}` });

  const serve = async (): Promise<Server> => {
    const logs = new Logs({ level: 'debug', to: { write: (line: string) => void lines.push(line) } });
    const kernel = new Process({ logs, graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config) }]);
    await kernel.start();
    const server = { kernel, bus: kernel.cradle.bus };
    servers.push(server);
    return server;
  };

  /** A listener, and a way to wait until it hears of an event: a bus may lose one, so it is told again and again. */
  const hearing = (bus: Bus) => {
    const heard: BusEvent[] = [];
    let look = () => {};
    const undo = bus.subscribe((one) => {
      heard.push(one);
      look();
    });
    const hears = (told: BusEvent, from: Bus) =>
      new Promise<BusEvent>((resolve, reject) => {
        const again = setInterval(() => from.publish(told), 50);
        const late = setTimeout(() => end(() => reject(new Error(`not heard in ${withinMs} ms`))), withinMs);
        const end = (then: () => void) => {
          clearInterval(again);
          clearTimeout(late);
          look = () => {};
          then();
        };
        look = () => {
          const found = heard.find(({ revision }) => revision === told.revision);
          if (found !== undefined) end(() => resolve(found));
        };
        from.publish(told);
        look();
      });
    return { heard, undo, hears };
  };

  afterEach(async () => {
    await Promise.all(servers.map(({ kernel }) => kernel.stop()));
    servers = [];
  });

  it('tells the server that publishes', async () => {
    const { bus } = await serve();
    const told = event();
    expect(await hearing(bus).hears(told, bus)).to.deep.equal(told);
  });

  it('tells every listener of a server', async () => {
    const { bus } = await serve();
    const all = [hearing(bus), hearing(bus), hearing(bus)];
    const told = event();
    const heard = await Promise.all(all.map(({ hears }) => hears(told, bus)));
    expect(heard).to.deep.equal([told, told, told]);
  });

  it('tells every server, and all that is in an event', async function () {
    if (!reachesOthers) {
      console.log(`      ${plugin.id} reaches this process only`);
      return this.skip();
    }
    const [one, other, third] = [await serve(), await serve(), await serve()];
    const told = { topic: 'changed', revision: Number.MAX_SAFE_INTEGER - ++last, from: 'Grüße "1" \u{1f511}' } as const;
    const heard = [one, other, third].map(({ bus }) => hearing(bus).hears(told, (other as Server).bus));
    expect(await Promise.all(heard)).to.deep.equal([told, told, told]);
  });

  it('never makes who publishes wait for who listens', async () => {
    const { bus } = await serve();
    let during = false;
    let within = false;
    bus.subscribe(() => (within ||= during));
    const { hears } = hearing(bus);
    const told = event();
    during = true;
    expect(bus.publish(told)).to.equal(undefined);
    during = false;
    await hears(told, bus);
    expect(within, 'a listener ran within publish()').to.equal(false);
  });

  it('goes on where a listener throws, and tells the log', async () => {
    const { bus } = await serve();
    bus.subscribe(() => {
      throw new Error('a listener of the kit');
    });
    const after = hearing(bus);
    for (let i = 0; i < 2; i++) {
      const told = event();
      expect(await after.hears(told, bus)).to.deep.equal(told);
    }
    expect(lines.join('')).to.include('a listener of the kit');
  });

  it('tells nothing any more after the undo, and everything to the others', async () => {
    const { bus } = await serve();
    const [gone, stays] = [hearing(bus), hearing(bus)];
    await Promise.all([gone.hears(event(), bus), stays.hears({ topic: 'changed', revision: last, from: 'kit' }, bus)]);
    gone.undo();
    gone.undo();
    const count = gone.heard.length;
    const told = event();
    await stays.hears(told, bus);
    expect(gone.heard).to.have.lengthOf(count);
  });

  it('has each subscription of one function apart', async () => {
    const { bus } = await serve();
    let count = 0;
    const listen = () => void count++;
    const undo = bus.subscribe(listen);
    bus.subscribe(listen);
    const { hears } = hearing(bus);
    undo();
    await hears(event(), bus);
    expect(count).to.be.greaterThan(0);
  });

  it('lets listeners come and go while it tells', async () => {
    const { bus } = await serve();
    const late: BusEvent[] = [];
    const undo = bus.subscribe(() => {
      undo();
      bus.subscribe((one) => void late.push(one));
    });
    const { hears } = hearing(bus);
    await hears(event(), bus);
    const told = event();
    await hears(told, bus);
    expect(late.map(({ revision }) => revision)).to.include(told.revision);
  });

  it('throws nothing before the start, nor after the end', async () => {
    const logs = new Logs({ level: 'silent' });
    const kernel = new Process({ logs, graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config) }]);
    const { bus } = kernel.cradle;
    const undo = bus.subscribe(() => {});
    bus.publish(event());
    await kernel.start();
    bus.publish(event());
    await kernel.stop();
    bus.publish(event());
    undo();
  });

  it('takes many at once', async () => {
    const { bus } = await serve();
    const { hears, heard } = hearing(bus);
    for (let i = 0; i < 10_000; i++) bus.publish(event());
    const newest = event();
    await hears(newest, bus);
    for (const one of heard) expect(one).to.have.all.keys('topic', 'revision', 'from');
  });
}
