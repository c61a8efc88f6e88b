import { expect } from 'chai';
import fc from 'fast-check';
import type { Plugin } from '../../core/cradle.ts';
import { type GantryError, isGantryError } from '../../core/errors.ts';
import { Logs } from '../../core/log/log.ts';
import type { Codec } from '../../core/ports/codec.ts';
import { nameOf } from '../../core/ports/table.ts';
import { Process } from '../../core/process.ts';

type Raw = Uint8Array | string;

/** One input. Large ones are functions, so that they are built when their test runs. */
export interface CodecInput {
  readonly name: string;
  readonly raw: Raw | (() => Raw);
  /** Of the content type, as `decode` gets them. */
  readonly parameters?: string;
}

/** What the kit needs to know of a codec. */
export interface CodecUnderTest {
  readonly plugin: Plugin;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Values that must survive decode(encode(x)), deeply equal; at least one. */
  readonly values: Iterable<unknown>;
  /** Must be refused. Empty for a format in which everything is well-formed. */
  readonly malformed: readonly CodecInput[];
  /** Refused or read, each in at most `maxMs`. */
  readonly hostile: readonly (CodecInput & { readonly maxMs: number })[];
  /** Values that the format cannot hold; at least one. */
  readonly impossible: readonly { readonly name: string; readonly value: unknown }[];
}

/** Builds a codec as the server does: config checked and completed, then created. Throws what the kernel throws. */
export function buildCodec(plugin: Plugin, config: Readonly<Record<string, unknown>> = {}): Codec {
  const kernel = new Process({ logs: new Logs({ level: 'silent' }) });
  kernel.create([{ id: plugin.id, plugin, config }]);
  return kernel.cradle.codecs.get(nameOf(plugin.id)) as Codec;
}

/** Tests every promise of core/ports/codec.ts. */
export function testCodec(under: CodecUnderTest): void {
  const values = [...under.values];
  let codec: Codec;
  before(() => {
    codec = buildCodec(under.plugin, under.config);
  });

  describe('the codec contract: what it says of itself', () => {
    it('is a codec by its id', () => expect(under.plugin.id).to.match(/^codec\.[a-z][a-z0-9-]*$/));
    it('names its media types in lower case, the first of them one that can be written', () => {
      expect(codec.contentTypes).to.not.be.empty;
      for (const type of codec.contentTypes) expect(type).to.match(/^[a-z]+\/(\*\+)?[a-z0-9][a-z0-9!#$&^_.+-]*$/);
      expect(codec.contentTypes[0]).to.not.contain('*');
      expect(new Set(codec.contentTypes).size).to.equal(codec.contentTypes.length);
    });
    it('has parameters that can follow a media type, or none', () => {
      if (codec.parameters === undefined) return;
      expect(codec.parameters).to.match(/^[a-z-]+=[A-Za-z0-9._-]+(; [a-z-]+=[A-Za-z0-9._-]+)*$/);
    });
    it('says whether its values have types', () => expect(codec.typed).to.be.a('boolean'));
    it('refuses a config key that it does not know', () => {
      expect(() => buildCodec(under.plugin, { ...under.config, 'no-such-key': 1 })).to.throw(/no-such-key|config/i);
    });
  });

  describe('the codec contract: round trips', () => {
    it('is given values to try', () => expect(values).to.not.be.empty);
    for (const [i, value] of values.entries()) {
      it(`gives back value ${i + 1}, ${shown(value)}`, () => {
        const before = structuredClone(value);
        const encoded = codec.encode(value);
        expect(value, 'encode changed the value').to.deep.equal(before);
        expect(codec.decode(encoded, codec.parameters), 'as encoded').to.deep.equal(value);
        const bytes = typeof encoded === 'string' ? Buffer.from(encoded) : encoded;
        expect(codec.decode(bytes), 'as bytes').to.deep.equal(value);
        expect(codec.decode(within(bytes)), 'as a part of a larger buffer').to.deep.equal(value);
        const text = typeof encoded === 'string' ? encoded : utf8(encoded);
        if (text !== null) expect(codec.decode(text), 'as a string').to.deep.equal(value);
      });
    }
  });

  describe('the codec contract: malformed input', () => {
    for (const input of under.malformed) {
      it(`refuses ${input.name}`, () => {
        const raw = rawOf(input);
        const error = refusal(() => codec.decode(raw, input.parameters));
        expect(error, 'it was read').to.not.equal(null);
        expectInvalid(error);
        expectNoEcho(error as GantryError, raw);
      });
    }
    const same = (raw: Raw) => expectInvalid(refusal(() => codec.decode(raw)));
    it('reads any bytes, or refuses them as invalid', () => {
      fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), same), { numRuns: 500 });
    });
    it('reads any string, or refuses it as invalid', () => {
      fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), same), { numRuns: 500 });
    });
    it('reads what was damaged on its way, or refuses it as invalid', () => {
      const samples = values.map((value) => bytesOf(codec.encode(value))).filter((bytes) => bytes.length > 0);
      const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
      const damaged = fc.tuple(fc.constantFrom(...samples), damage, fc.nat()).map(([sample, hits, cut]) => {
        const bytes = Uint8Array.from(sample);
        for (const [at, byte] of hits) bytes[at % bytes.length] = byte;
        return cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
      });
      fc.assert(fc.property(damaged, same), { numRuns: 500 });
    });
  });

  describe('the codec contract: hostile input', () => {
    for (const input of under.hostile) {
      it(`refuses or reads ${input.name} in ${input.maxMs} ms`, () => {
        const raw = rawOf(input);
        const builtIns = prototypes();
        let value: unknown;
        // Of CPU: on a busy machine the clock on the wall says nothing of the codec.
        const before = process.cpuUsage();
        const error = refusal(() => {
          value = codec.decode(raw, input.parameters);
        });
        const { user, system } = process.cpuUsage(before);
        const ms = (user + system) / 1000;
        expect(prototypes(), 'a prototype was changed').to.deep.equal(builtIns);
        expectInvalid(error);
        if (error !== null) expectNoEcho(error, raw);
        expectOwnProperties(value);
        expect(ms, 'ms of CPU').to.be.below(input.maxMs);
        expect(codec.decode(codec.encode(values[0])), 'it works no more').to.deep.equal(values[0]);
      }).timeout(input.maxMs + 10_000);
    }
  });

  describe('the codec contract: what the format cannot hold', () => {
    it('is given values to try', () => expect(under.impossible).to.not.be.empty);
    for (const { name, value } of under.impossible) {
      it(`refuses to write ${name}`, () => {
        const error = refusal(() => codec.encode(value));
        expect(error?.code).to.equal('OUTPUT_INVALID');
        expect(error?.hint, 'the operator is told what to change').to.be.a('string').that.is.not.empty;
      });
    }
  });
}

/** What was thrown, null where nothing was. Anything but a GantryError fails the test. */
export function refusal(act: () => unknown): GantryError | null {
  try {
    act();
    return null;
  } catch (thrown) {
    if (!isGantryError(thrown)) throw new Error('it threw what is not a GantryError', { cause: thrown });
    return thrown;
  }
}

function expectInvalid(error: GantryError | null): void {
  if (error === null) return;
  expect(error.kind, `${error.code}: ${error.message}`).to.equal('invalid');
  expect(error.message).to.be.a('string').that.is.not.empty;
  expect(JSON.stringify(error.problems ?? []).length, 'characters that the caller is told').to.be.below(TOLD);
}

const TOLD = 1000;
const ECHO = 12;
const LOOKED_AT = 4000;

/** No 12 characters of the body stand in what the caller is told. */
function expectNoEcho(error: GantryError, raw: Raw): void {
  const told = [error.message, ...(error.problems ?? []).map((p) => p.message)].join('\n');
  const text = (typeof raw === 'string' ? raw : Buffer.from(raw).toString('latin1')).slice(0, LOOKED_AT);
  for (let at = 0; at + ECHO <= text.length; at++) expect(told).to.not.contain(text.slice(at, at + ECHO));
}

/** Objects have no prototype but those that the language gave them. */
function expectOwnProperties(value: unknown): void {
  const left = [value];
  for (let one = left.pop(); left.length > 0 || one !== undefined; one = left.pop()) {
    if (typeof one !== 'object' || one === null || ArrayBuffer.isView(one)) continue;
    expect([null, Object.prototype, Array.prototype], 'a foreign prototype').to.include(Object.getPrototypeOf(one));
    for (const entry of Object.values(one)) left.push(entry);
  }
}

function prototypes(): string[] {
  return [Object, Array, String, Function].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype));
}

function rawOf({ raw }: CodecInput): Raw {
  return typeof raw === 'function' ? raw() : raw;
}

function bytesOf(encoded: Raw): Uint8Array {
  return typeof encoded === 'string' ? Buffer.from(encoded) : encoded;
}

/** The same bytes in the middle of others, and no Buffer. */
function within(bytes: Uint8Array): Uint8Array {
  const larger = new Uint8Array(bytes.length + 16).fill(0x7b);
  larger.set(bytes, 8);
  return larger.subarray(8, 8 + bytes.length);
}

function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function shown(value: unknown): string {
  const text = ArrayBuffer.isView(value) ? `${value.byteLength} bytes` : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
