import { spawn } from 'node:child_process';
import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { expect } from 'chai';
import fc from 'fast-check';
import { GantryError } from '../../../core/errors.ts';
import { Secret } from '../../../core/schema/secret.ts';
import { Keyring } from '../../../core/secrets/keyring.ts';

const text = () => randomBytes(32).toString('base64');

function refusal(work: () => unknown): GantryError {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(GantryError);
    return error as GantryError;
  }
  return expect.fail('nothing was thrown');
}

/** All that anything could print of an error. */
function everything(error: GantryError): string {
  return [inspect(error, { depth: 9 }), JSON.stringify(error), error.message, error.hint].join('\n');
}

/** The same text with another character at a place. */
function tampered(sealed: string, at: number, by: number): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.';
  const i = at % sealed.length;
  const others = [...alphabet].filter((c) => c !== sealed[i]);
  return sealed.slice(0, i) + others[by % others.length] + sealed.slice(i + 1);
}

describe('keyring', () => {
  let folder: string;
  let file: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-keyring-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  let count = 0;
  beforeEach(() => {
    file = path.join(folder, `keys-${++count}`);
  });
  const configured = (...keys: string[]) => new Keyring({ keys: new Secret(keys.join(' ')), file });

  describe('where keys come from', () => {
    it('configured ones come first, and the file is neither read nor made', () => {
      expect(configured(text())).to.include({ created: false, file: null, warning: null });
      expect(existsSync(file)).to.equal(false);
    });
    it('they stand between white space or commas, in base64, base64url, with or without padding, or in hex', () => {
      const key = Buffer.from('fbff'.repeat(16), 'hex');
      const forms = [
        key.toString('base64'),
        key.toString('base64').replace('=', ''),
        key.toString('base64url'),
        key.toString('hex'),
        key.toString('hex').toUpperCase(),
      ];
      const ring = new Keyring({ keys: new Secret(` ${forms.join(',\n ')}, `), file });
      expect(ring.ids).to.have.length(5);
      expect(new Set(ring.ids).size).to.equal(1);
      expect(ring.ids[0]).to.match(/^[0-9a-f]{8}$/);
    });
    it('without any, a file is made with a random key that only its owner can read', () => {
      const ring = new Keyring({ file });
      expect(ring).to.include({ created: true, file, warning: null });
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      const again = new Keyring({ keys: null, file });
      expect(again.created).to.equal(false);
      expect(again.open(ring.seal('x', 'c'), 'c')).to.equal('x');
      expect(readdirSync(folder).filter((name) => name.startsWith(path.basename(file)))).to.have.length(1);
    });
    it('blank configured keys are none', () => {
      expect(new Keyring({ keys: new Secret(' \n'), file }).created).to.equal(true);
    });
    it('two made keys differ', () => {
      expect(new Keyring({ file }).ids).to.not.deep.equal(new Keyring({ file: `${file}-b` }).ids);
    });
    it('a file has a key a line, comments and empty lines', () => {
      const [one, two] = [text(), text()];
      writeFileSync(file, `\uFEFF# mine\r\n\r\n${one} # since May\r\n  ${two}\n# ${text()}\n`, { mode: 0o600 });
      expect(new Keyring({ file }).ids).to.deep.equal(configured(one, two).ids);
    });
    it('processes that start at once on one folder end with the same key, and one of them made it', async function () {
      this.timeout(60_000);
      const script = `
        import { Keyring } from ${JSON.stringify(new URL('../../../core/secrets/keyring.ts', import.meta.url).href)};
        process.stdout.write('ready');
        process.stdin.once('data', () => {
          const ring = new Keyring({ file: ${JSON.stringify(file)} });
          process.stdout.write(' ' + ring.created + ' ' + ring.ids.join());
          process.exit();
        });`;
      const children = Array.from({ length: 4 }, () =>
        spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
          stdio: ['pipe', 'pipe', 'inherit'],
        }),
      );
      const told = children.map(() => '');
      const ends = children.map((child) => once(child, 'close'));
      await Promise.all(
        children.map(async (child, i) => {
          child.stdout.setEncoding('utf8').on('data', (bytes: string) => {
            told[i] = `${told[i]}${bytes}`;
          });
          await once(child.stdout, 'data');
        }),
      );
      for (const child of children) child.stdin.write('go\n');
      await Promise.all(ends);
      const answers = told.map((one) => one.split(' ').slice(1));
      expect(new Set(answers.map(([, id]) => id)).size, told.join()).to.equal(1);
      expect(answers.filter(([created]) => created === 'true')).to.have.length(1);
      expect(new Keyring({ file }).ids).to.deep.equal([answers[0]?.[1]]);
    });
    it('a file that is there already is never replaced', () => {
      const made = new Keyring({ file }).ids;
      for (let i = 0; i < 3; i++) expect(new Keyring({ file }).ids).to.deep.equal(made);
    });
    if (process.platform !== 'win32') {
      it('a file that others can read is a warning that tells how to mend it', () => {
        writeFileSync(file, text());
        for (const mode of [0o640, 0o604, 0o622]) {
          chmodSync(file, mode);
          const { warning } = new Keyring({ file });
          expect(warning).to.include(file).and.include('chmod 600').and.include(mode.toString(8));
        }
        chmodSync(file, 0o400);
        expect(new Keyring({ file }).warning).to.equal(null);
      });
    }
  });

  describe('what is no key is refused', () => {
    const wrong: [string, string][] = [
      ['too short', randomBytes(31).toString('base64')],
      ['too long', randomBytes(33).toString('base64')],
      ['a pass phrase', 'correct-horse-battery-staple'],
      ['hex of 31 bytes', randomBytes(31).toString('hex')],
      ['hex with another letter', `${randomBytes(32).toString('hex').slice(1)}g`],
      ['bits beyond the last byte', `${'A'.repeat(42)}B`],
      ['two paddings', `${'A'.repeat(42)}==`],
      ['a character of no alphabet', `${'A'.repeat(20)}!${'A'.repeat(22)}`],
      ['quotes', `"${text()}"`],
    ];
    for (const [what, key] of wrong) {
      it(`${what}: by its number, with the command that makes one, and never by its text`, () => {
        const error = refusal(() => configured(text(), text(), key));
        expect(error.code).to.equal('KEY_INVALID');
        expect(error.message).to.include('Key 3 of 3 in the configured keys');
        expect(error.hint).to.include('openssl rand -base64 32');
        expect(everything(error)).to.not.include(key);
        writeFileSync(file, `${text()}\n${key}\n`, { mode: 0o600 });
        const inFile = refusal(() => new Keyring({ file }));
        expect(inFile.message).to.include('Key 2 of 2').and.include(file);
        expect(everything(inFile)).to.not.include(key);
      });
    }
    it('a file without a key, and it stays as it is', () => {
      writeFileSync(file, '# nothing\n');
      expect(refusal(() => new Keyring({ file }))).to.include({ code: 'KEY_INVALID' });
      expect(readFileSync(file, 'utf8')).to.equal('# nothing\n');
    });
    it('a file that cannot be read, or made', () => {
      mkdirSync(file);
      expect(refusal(() => new Keyring({ file })).message).to.match(/cannot be read \(EISDIR\)/);
      const error = refusal(() => new Keyring({ file: path.join(folder, 'nowhere', 'keys') }));
      expect(error.message).to.match(/cannot be made \(ENOENT\)/);
      expect(error.hint).to.include('writable');
      const below = path.join(folder, 'plain');
      writeFileSync(below, '');
      expect(refusal(() => new Keyring({ file: path.join(below, 'keys') })).code).to.equal('KEY_INVALID');
      symlinkSync(path.join(folder, 'nothing'), `${file}-link`);
      expect(refusal(() => new Keyring({ file: `${file}-link` })).message).to.match(/ENOENT/);
    });
  });

  describe('sealing', () => {
    const unit = fc.constantFrom<'binary' | 'grapheme'>('binary', 'grapheme');
    const any = fc.oneof(
      unit.chain((u) => fc.string({ unit: u })),
      // Halves of surrogate pairs, too.
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    );
    const ring = () => configured(text());

    it('opens to what was sealed, whatever it is', () => {
      const keys = ring();
      fc.assert(fc.property(any, any, (secret, context) => keys.open(keys.seal(secret, context), context) === secret));
      const long = 'ä'.repeat(1_000_000);
      expect(keys.open(keys.seal(long, 'c'), 'c')).to.equal(long);
    });
    it('has the form gs1.<key id>.<nonce>.<body>, with a nonce of 96 bits and a tag of 128', () => {
      const keys = ring();
      const parts = keys.seal('abc', 'c').split('.');
      expect(parts.slice(0, 2)).to.deep.equal(['gs1', keys.ids[0]]);
      expect(Buffer.from(parts[2] as string, 'base64url')).to.have.length(12);
      expect(Buffer.from(parts[3] as string, 'base64url')).to.have.length('"abc"'.length + 16);
    });
    it('never gives the same twice', () => {
      const keys = ring();
      expect(new Set(Array.from({ length: 2000 }, () => keys.seal('x', 'c'))).size).to.equal(2000);
    });
    it('nothing of the secret is in it', () => {
      const keys = ring();
      fc.assert(
        fc.property(fc.string({ minLength: 6 }), (secret) => {
          const sealed = keys.seal(secret, 'c');
          const bytes = Buffer.from(sealed.split('.')[3] as string, 'base64url').toString('latin1');
          return !sealed.includes(secret) && !bytes.includes(secret);
        }),
      );
    });
    it('a change of any character is refused', () => {
      const keys = ring();
      const sealed = keys.seal('the secret itself', 'c');
      for (let at = 0; at < sealed.length; at++) {
        for (let by = 0; by < 64; by++) {
          const other = tampered(sealed, at, by);
          const error = refusal(() => keys.open(other, 'c'));
          expect(error.code, other).to.equal('SECRET_UNREADABLE');
        }
      }
    });
    it('a part of it, or more than it, is refused', () => {
      const keys = ring();
      const sealed = keys.seal('the secret itself', 'c');
      const strange = [
        '',
        'gs1',
        'gs1...',
        'gs2',
        `${sealed}A`,
        `${sealed}=`,
        ` ${sealed}`,
        `${sealed}\n`,
        'x'.repeat(1e6),
      ];
      for (let end = 0; end < sealed.length; end++) strange.push(sealed.slice(0, end));
      for (const other of strange) expect(refusal(() => keys.open(other, 'c')).code).to.equal('SECRET_UNREADABLE');
    });
    it('another context is refused, and the error tells nothing of the secret', () => {
      const keys = ring();
      fc.assert(
        fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (mine, other) => {
          fc.pre(mine !== other);
          const error = refusal(() => keys.open(keys.seal('my-secret-text', mine), other));
          expect(error.code).to.equal('SECRET_UNREADABLE');
          expect(error.hint).to.match(/changed, or moved/);
          expect(everything(error)).to.not.include('my-secret-text');
          expect(error.message).to.not.include(keys.ids[0]);
        }),
      );
    });
    it('nothing prints a key', () => {
      const key = text();
      const keys = configured(key);
      const printed = inspect(keys, { depth: 9, showHidden: true }) + JSON.stringify(keys);
      const hex = Buffer.from(key, 'base64').toString('hex');
      for (const form of [key, hex, hex.slice(0, 8)]) expect(printed).to.not.include(form);
    });
  });

  describe('changing keys', () => {
    it('the first is current, the others open', () => {
      const [old, fresh] = [text(), text()];
      const before = configured(old).seal('x', 'c');
      const keys = configured(fresh, old);
      expect(keys.open(before, 'c')).to.equal('x');
      expect(keys.isCurrent(before)).to.equal(false);
      expect(keys.isCurrent(keys.seal('x', 'c'))).to.equal(true);
      expect(keys.isCurrent('nothing')).to.equal(false);
    });
    it('a key that is missing is named, with those that are there and where to add it', () => {
      const other = configured(text());
      const keys = configured(text(), text());
      const error = refusal(() => keys.open(other.seal('x', 'c'), 'c'));
      expect(error.code).to.equal('SECRET_UNREADABLE');
      for (const id of [...keys.ids, ...other.ids]) expect(error.hint).to.include(id);
      expect(error.hint).to.include('the configured keys');
      expect(error.message).to.equal('A stored secret cannot be read');
    });
    it('a key that was added to the file is found without a restart, for secrets and for signatures', () => {
      const keys = new Keyring({ file });
      const first = keys.ids[0];
      const key = text();
      const other = configured(key);
      expect(refusal(() => keys.open(other.seal('x', 'c'), 'c')).hint).to.include(file);
      writeFileSync(file, `${readFileSync(file, 'utf8')}${key}\n`);
      expect(keys.open(other.seal('x', 'c'), 'c')).to.equal('x');
      expect(keys.ids).to.deep.equal([first, ...other.ids]);
      const third = text();
      writeFileSync(file, `${third}\n${readFileSync(file, 'utf8')}`);
      expect(keys.verify('p', 'bytes', configured(third).sign('p', 'bytes'))).to.equal(true);
      expect(keys.ids).to.deep.equal([...configured(third).ids, first, ...other.ids]);
    });
    it('a file that was spoilt, emptied or removed meanwhile takes no key away, and the error tells of it', () => {
      const keys = new Keyring({ file });
      const sealed = keys.seal('x', 'c');
      const unknown = configured(text()).seal('y', 'c');
      for (const content of ['not a key\n', '']) {
        writeFileSync(file, content);
        const error = refusal(() => keys.open(unknown, 'c'));
        expect(error.code).to.equal('SECRET_UNREADABLE');
        expect(error.hint).to.include('is not valid');
        expect(keys.open(sealed, 'c')).to.equal('x');
      }
      rmSync(file);
      expect(refusal(() => keys.open(unknown, 'c')).code).to.equal('SECRET_UNREADABLE');
      expect(keys.open(sealed, 'c')).to.equal('x');
      expect(existsSync(file)).to.equal(false);
    });
  });

  describe('signatures', () => {
    it('hold for the same bytes, purpose and key, in whichever pieces they come', () => {
      const keys = configured(text());
      fc.assert(
        fc.property(fc.array(fc.uint8Array()), fc.string(), (pieces, purpose) => {
          const signature = keys.sign(purpose, Buffer.concat(pieces));
          const verifier = keys.verifier(purpose, signature);
          for (const piece of pieces) verifier.add(piece);
          expect(verifier.end()).to.equal(true);
          const signer = keys.signer(purpose);
          for (const piece of pieces) signer.add(piece);
          expect(signer.end()).to.equal(signature);
        }),
      );
    });
    it('fail for other bytes, another purpose, another key, and any change of the signature', () => {
      const keys = configured(text());
      const signature = keys.sign('p', 'bytes');
      expect(keys.verify('p', 'bytes', signature)).to.equal(true);
      expect(keys.verify('p', 'bytes!', signature)).to.equal(false);
      expect(keys.verify('q', 'bytes', signature)).to.equal(false);
      expect(configured(text()).verify('p', 'bytes', signature)).to.equal(false);
      for (let at = 0; at < signature.length; at++) {
        for (let by = 0; by < 64; by++) expect(keys.verify('p', 'bytes', tampered(signature, at, by))).to.equal(false);
        expect(keys.verify('p', 'bytes', signature.slice(0, at))).to.equal(false);
      }
    });
    it('of an older key hold, and a missing key is named', () => {
      const [old, fresh] = [text(), text()];
      const signature = configured(old).sign('p', 'bytes');
      expect(configured(fresh, old).verify('p', 'bytes', signature)).to.equal(true);
      const error = refusal(() => configured(fresh).verifier('p', signature));
      expect(error.code).to.equal('SECRET_UNREADABLE');
      expect(error.hint).to.include(configured(old).ids[0]);
    });
    it('are HMAC-SHA-256 with a key by HKDF-SHA-256, whose info is the purpose (RFC 5869)', () => {
      const key = text();
      const derived = Buffer.from(hkdfSync('sha256', Buffer.from(key, 'base64'), '', 'gantry/sign/p', 32));
      const mac = createHmac('sha256', derived).update('bytes').digest('base64url');
      expect(configured(key).sign('p', 'bytes')).to.equal(`gh1.${configured(key).ids[0]}.${mac}`);
    });
  });

  it('keys for other uses are derived, the current one first, and differ by purpose', () => {
    const [one, two] = [text(), text()];
    const keys = configured(one, two);
    const tokens = keys.derive('tokens');
    expect(tokens.map((key) => key.length)).to.deep.equal([32, 32]);
    expect(tokens).to.deep.equal([...configured(one).derive('tokens'), ...configured(two).derive('tokens')]);
    const all = [...tokens, ...keys.derive('cookies'), ...keys.derive('sign/tokens')].map((key) => key.toString('hex'));
    expect(new Set(all).size).to.equal(6);
    expect(all).to.not.include(Buffer.from(one, 'base64').toString('hex'));
  });
});
