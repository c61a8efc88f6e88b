import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { Call } from '../../../core/api.ts';
import type { Plugin } from '../../../core/cradle.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import pickup from '../../../plugins/feature-pickup/index.ts';
import { needs, ownPostgres } from '../../engines/index.ts';
import { operated } from '../../fixtures/operated.ts';

const greeter = (text: string) => `import { defineService, Type } from 'gantry/api';
export default defineService({
  name: 'greet', input: Type.Unknown(), output: Type.String(), create: () => () => '${text}',
});
`;

type Options = Parameters<typeof operated>[0];

/** A server with a pick-up folder that is looked at often. */
async function server(config: Record<string, unknown> = {}, options: Options = {}) {
  const more: Loaded[] = [
    { id: 'feature.pickup', plugin: pickup as unknown as Plugin, config: { pollMs: 50, ...config } },
  ];
  const made = await operated({ more, ...options });
  const folder = path.join(made.data, 'pickup');
  const drop = (name: string, text: string | Buffer) => {
    // As who knows of it does: complete from the first moment.
    writeFileSync(path.join(folder, `.${name}.new`), text);
    renameSync(path.join(folder, `.${name}.new`), path.join(folder, name));
  };
  const list = (below = '') =>
    readdirSync(path.join(folder, below))
      .filter((name) => !/^(deployed|refused)$/.test(name))
      .sort();
  const greeting = () => made.kernel.cradle.services.invoke('greet', null, new Call('test', {}), {});
  const told = (text: string) => made.lines.map((line) => JSON.stringify(line)).filter((line) => line.includes(text));
  return { ...made, folder, drop, list, greeting, told };
}
type Server = Awaited<ReturnType<typeof server>>;

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 15_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not in 15 s: ${what}`);
    await wait(10);
  }
}
const gone = ({ list }: Server, name: string) => until(() => !list().includes(name), `${name} is taken`);

describe('feature.pickup', () => {
  const running: Server[] = [];
  async function start(config: Record<string, unknown> = {}, options: Options = {}): Promise<Server> {
    const made = await server(config, options);
    running.push(made);
    await made.kernel.start();
    return made;
  }
  afterEach(async () => {
    for (const one of running.splice(0)) {
      await one.kernel.stop();
      rmSync(one.data, { recursive: true, force: true });
    }
  });

  it('deploys a file that is dropped, and keeps it with its version in the name', async () => {
    const one = await start();
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    expect(await one.greeting()).to.equal('hello');
    expect(one.list('deployed')).to.deep.equal(['greet.v1.ts']);
    expect(readFileSync(path.join(one.folder, 'deployed/greet.v1.ts'), 'utf8')).to.equal(greeter('hello'));
    const { changedBy, definition } = await one.records.get('module', 'greet');
    expect(changedBy).to.equal('pickup of gantry');
    expect(definition).to.include({ language: 'typescript', source: greeter('hello') });
    one.drop('greet.ts', greeter('hello again'));
    await gone(one, 'greet.ts');
    expect(await one.greeting()).to.equal('hello again');
    expect(one.list('deployed')).to.deep.equal(['greet.v1.ts', 'greet.v2.ts']);
  });

  it('makes nothing new of what the module says already', async () => {
    const one = await start();
    for (let i = 0; i < 2; i++) {
      one.drop('greet.ts', greeter('hello'));
      await gone(one, 'greet.ts');
    }
    expect((await one.records.get('module', 'greet')).version).to.equal(1);
    expect(one.told('says what the module says already')).to.have.length(1);
    expect(one.list('deployed')).to.deep.equal(['greet.v1.ts']);
  });

  it('switches a module on that an administrator had switched off', async () => {
    const one = await start();
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    await one.records.update('module', 'greet', 1, { active: false }, { name: 'tester' });
    expect(one.kernel.cradle.services.has('greet')).to.equal(false);
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    expect(await one.greeting()).to.equal('hello');
  });

  it('knows JavaScript by its ending', async () => {
    const one = await start();
    one.drop('greet.js', greeter('hello'));
    await gone(one, 'greet.js');
    expect((await one.records.get('module', 'greet')).definition['language']).to.equal('javascript');
  });

  it('refuses a broken one, tells why line by line, and leaves what runs', async () => {
    const one = await start();
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    one.drop('greet.ts', 'export default 1 +;');
    one.drop('odd name.ts', greeter('odd'));
    await gone(one, 'greet.ts');
    await gone(one, 'odd name.ts');
    expect(one.list('refused')).to.deep.equal(['greet.ts', 'greet.ts.txt', 'odd name.ts', 'odd name.ts.txt']);
    const why = readFileSync(path.join(one.folder, 'refused/greet.ts.txt'), 'utf8').split('\n');
    expect(why[0]).to.match(/^greet\.ts was refused by gantry at .*Z\. Nothing was changed\.$/);
    expect(why.slice(2).join('\n')).to.match(/^greet\.ts:1:19 Unexpected ";"$/m);
    expect(readFileSync(path.join(one.folder, 'refused/odd name.ts.txt'), 'utf8')).to.match(
      /^\/name: .*\n( {4}expected: .*\n)? {4}got: {6}"odd name"$/m,
    );
    expect(await one.greeting()).to.equal('hello');
    expect((await one.records.get('module', 'greet')).version).to.equal(1);
  });

  it('refuses what can be no module without making anything of it', async () => {
    const one = await start({ maxBytes: 1000 });
    one.drop('large.ts', `// ${'x'.repeat(1000)}`);
    one.drop('latin.ts', Buffer.from('// \xe9', 'latin1'));
    await gone(one, 'large.ts');
    await gone(one, 'latin.ts');
    const why = (name: string) => readFileSync(path.join(one.folder, `refused/${name}.txt`), 'utf8');
    expect(why('large.ts')).to.include('has 1003 bytes, and at most 1000 are taken').and.include('hint:');
    expect(why('latin.ts')).to.include('no text in UTF-8');
    expect(one.records.names('module')).to.deep.equal([]);
  });

  it("refuses a service that is another module's", async () => {
    const one = await start();
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    one.drop('other.ts', greeter('mine'));
    await gone(one, 'other.ts');
    expect(readFileSync(path.join(one.folder, 'refused/other.ts.txt'), 'utf8')).to.include(
      "belongs to the module 'greet'",
    );
    expect(await one.greeting()).to.equal('hello');
  });

  it('leaves hidden and unfinished names, folders, links and other files alone', async () => {
    const one = await start();
    const left = ['.greet.ts', '#greet.ts', 'greet.ts.part', 'greet.ts.tmp', 'greet.ts~', '~greet.ts', 'readme.md'];
    for (const name of left) writeFileSync(path.join(one.folder, name), greeter('no'));
    writeFileSync(path.join(one.data, 'elsewhere.ts'), greeter('no'));
    symlinkSync(path.join(one.data, 'elsewhere.ts'), path.join(one.folder, 'link.ts'));
    mkdirSync(path.join(one.folder, 'folder.ts'));
    // What comes after it in the alphabet was looked at with or after them, twice.
    for (const text of ['one', 'two']) {
      one.drop('zz.ts', greeter(text));
      await gone(one, 'zz.ts');
    }
    expect(one.list()).to.deep.equal([...left, 'link.ts', 'folder.ts'].sort());
    expect(one.records.names('module')).to.deep.equal(['zz']);
    expect(one.told('stays').filter((line) => line.includes('readme.md'))).to.have.length(1);
  });

  it('takes a file when it is whole, and not while it is written', async function () {
    this.timeout(60_000);
    const one = await start({ pollMs: 1000 });
    const file = path.join(one.folder, 'greet.ts');
    writeFileSync(file, '');
    // Each piece is no module, and it takes some looks until the last one is there.
    const text = greeter('hello');
    for (let at = 0; at < text.length; at += 2) {
      await appendFile(file, text.slice(at, at + 2));
      await wait(20);
    }
    await gone(one, 'greet.ts');
    expect(await one.greeting()).to.equal('hello');
    expect((await one.records.get('module', 'greet')).version).to.equal(1);
    expect(one.list('refused')).to.deep.equal([]);
  });

  it('takes at its first look what was whole long before', async () => {
    const made = await server({ pollMs: 60_000 });
    running.push(made);
    mkdirSync(made.folder, { recursive: true });
    const file = path.join(made.folder, 'greet.ts');
    writeFileSync(file, greeter('hello'));
    const before = Date.now() / 1000 - 600;
    utimesSync(file, before, before);
    await made.kernel.start();
    await gone(made, 'greet.ts');
    expect(await made.greeting()).to.equal('hello');
  });

  it('goes on where the folder was taken away meanwhile', async () => {
    const one = await start();
    rmSync(one.folder, { recursive: true });
    await until(() => existsSync(path.join(one.folder, 'refused')), 'the folder is there again');
    one.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    expect(await one.greeting()).to.equal('hello');
    expect(one.told('cannot be looked at')).to.have.length(1);
  });

  it('keeps so many, and removes the oldest', async () => {
    const one = await start({ kept: 2 });
    for (const text of ['a', 'b', 'c']) {
      one.drop('greet.ts', greeter(text));
      await gone(one, 'greet.ts');
    }
    one.drop('bad1.ts', 'no');
    await gone(one, 'bad1.ts');
    one.drop('bad2.ts', 'no');
    await gone(one, 'bad2.ts');
    one.drop('bad3.ts', 'no');
    await gone(one, 'bad3.ts');
    const kept = ['bad2.ts', 'bad2.ts.txt', 'bad3.ts', 'bad3.ts.txt'];
    await until(() => one.list('refused').length === kept.length, 'the oldest is removed');
    expect(one.list('refused')).to.deep.equal(kept);
    expect(one.list('deployed')).to.deep.equal(['greet.v2.ts', 'greet.v3.ts']);
  });

  it('makes one version after the other of what is dropped on two servers at once', async () => {
    const one = await start({}, { name: 'one' });
    const file = path.join(one.data, 'gantry.sqlite');
    const two = await start({}, { name: 'two', dialect: ['dialect.sqlite', { file }] });
    for (let round = 1; round <= 5; round++) {
      one.drop('greet.ts', greeter(`one ${round}`));
      two.drop('greet.ts', greeter(`two ${round}`));
      await gone(one, 'greet.ts');
      await gone(two, 'greet.ts');
      const { version, definition } = await one.records.get('module', 'greet');
      expect(version).to.equal(round * 2);
      const last = /'((one|two) \d)'/.exec(String(definition['source']))?.[1];
      await until(async () => (await one.greeting()) === last && (await two.greeting()) === last, 'both run the last');
    }
    const versions = [...one.list('deployed'), ...two.list('deployed')].sort();
    expect(new Set(versions).size).to.equal(10);
    expect([...one.list('refused'), ...two.list('refused')]).to.deep.equal([]);
  });

  it('makes one version of the same file on two servers', async () => {
    const one = await start({}, { name: 'one' });
    const file = path.join(one.data, 'gantry.sqlite');
    const two = await start({}, { name: 'two', dialect: ['dialect.sqlite', { file }] });
    for (const each of [one, two]) each.drop('greet.ts', greeter('hello'));
    await gone(one, 'greet.ts');
    await gone(two, 'greet.ts');
    expect((await one.records.get('module', 'greet')).version).to.equal(1);
    expect([one.list('deployed'), two.list('deployed')]).to.deep.equal([['greet.v1.ts'], ['greet.v1.ts']]);
  });

  describe('with its database away', () => {
    const engine = needs(ownPostgres);
    it('leaves the file, says so once, and deploys it when the database is back', async function () {
      this.timeout(120_000);
      const { host, port, user, password } = engine();
      const database = await engine().database();
      const one = await start({}, { dialect: ['dialect.postgres', { host, port, user, password, database }] });
      await engine().stop();
      try {
        one.drop('greet.ts', greeter('hello'));
        await until(() => one.told('a dropped file waits').length > 0, 'it waits');
        expect(one.list()).to.deep.equal(['greet.ts']);
      } finally {
        await engine().start();
      }
      await gone(one, 'greet.ts');
      await until(async () => (await one.greeting()) === 'hello', 'it is deployed');
      expect(one.told('a dropped file waits')).to.have.length(1);
      expect(one.list('refused')).to.deep.equal([]);
    });
  });
});
