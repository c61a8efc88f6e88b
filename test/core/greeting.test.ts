import { expect } from 'chai';
import { greeting } from '../../core/greeting.ts';

const at = (channel: string, address: string, example?: string) => ({
  channel,
  address,
  ...(example === undefined ? {} : { example }),
});
const channel = (name: string) => ({ name, transport: 'rest', address: {}, service: `demo.${name}` });

describe('the greeting', () => {
  it('tells the channels of the config one by one, others by where they are, the data folder and a call', () => {
    const about = { name: 'demo', data: '/srv/data', channels: [channel('ping'), channel('hello')] };
    const told = greeting('1.2.3', about, [
      at('ping', 'GET http://h:1/ping'),
      at('hello', 'POST http://h:1/demo/hello', 'curl http://h:1/demo/hello'),
      at('gantry.admin/gantry.user.list', 'POST http://h:1/gantry/admin/gantry.user.list'),
      at('gantry.admin/gantry.openapi', 'GET http://h:1/gantry/admin/openapi.json'),
      at('made', 'GET http://h:1/made'),
      at('queue', 'orders.in'),
    ]);
    expect(told).to.equal(`
Gantry 1.2.3, server 'demo', is ready. Its data is in /srv/data

  GET   http://h:1/ping              demo.ping
  POST  http://h:1/demo/hello        demo.hello
        http://h:1/gantry/admin/...  2 of gantry.admin
        ...                          2 of channels that are records

Try it:
  curl http://h:1/demo/hello

`);
  });

  it('is short, however many there are', () => {
    const channels = Array.from({ length: 100 }, (_, i) => channel(`c${i}`));
    const told = greeting(
      '1',
      { name: 'n', data: '/d', channels },
      channels.map(({ name }) => at(name, `GET http://h/${name}`)),
    );
    expect(told.split('\n')).to.have.lengthOf(26);
    expect(told).to.include('... and 80 more');
  });

  it('says little where there is nothing', () => {
    expect(greeting('1', { name: 'n', data: '/d', channels: [] }, [])).to.equal(
      "\nGantry 1, server 'n', is ready. Its data is in /d\n\n",
    );
  });
});
