import { isUtf8 } from 'node:buffer';
import { definePlugin, GantryError, type Problem, Type } from '../../core/api.ts';
import { exceedsDepth } from './depth.ts';
import { findFault } from './fault.ts';
import { findPollution } from './pollution.ts';
import { findInvalidByte, place } from './position.ts';
import { findUnwritable } from './unwritable.ts';
import { compileWriter } from './writer.ts';

/**
 * JSON (RFC 8259). Reads UTF-8 only, with or without a byte order mark. Where an object names a key twice, the last
 * one counts; a number beyond the range of a double becomes Infinity, which no schema takes for a number. Refuses what
 * would change a prototype once it is copied: the key `__proto__`, and `constructor` with a `prototype` in it.
 * Writes what JSON.stringify writes: an undefined property is left out, NaN and Infinity are null.
 * Outputs of services are written by their schema, with the keys in its order.
 */
export default definePlugin({
  id: 'codec.json',
  api: 1,
  config: Type.Object(
    {
      maxDepth: Type.Integer({
        minimum: 1,
        maximum: 1000,
        default: 64,
        description: 'Deepest nesting of objects and arrays in a body',
      }),
    },
    { additionalProperties: false },
  ),
  create: ({ config }) => {
    const maxDepth = config.maxDepth;
    return {
      contentTypes: ['application/json', 'application/*+json'],
      typed: true,
      decode: (raw: Uint8Array | string) => decode(raw, maxDepth),
      encode,
      compile,
    };
  },
});

const BOM = 0xfeff;

/** Hot. */
function decode(raw: Uint8Array | string, maxDepth: number): unknown {
  const text = typeof raw === 'string' ? (raw.charCodeAt(0) === BOM ? raw.slice(1) : raw) : textOf(raw);
  if (exceedsDepth(text, maxDepth)) throw tooDeep(maxDepth);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The reason that the engine gives quotes the body: it stays out of the answer and of the log.
    throw malformed(syntaxProblem(text));
  }
  if (mayPollute(text)) refusePollution(value);
  return value;
}

type Write = (value: unknown) => string;

/** Services that share a schema, and the channels of one service, share its code. Forgotten with the schema. */
const WRITERS = new WeakMap<object, Write | null>();

function compile(schema: object): Write | null {
  let write = WRITERS.get(schema);
  if (write === undefined) WRITERS.set(schema, (write = guarded(compileWriter(schema))));
  return write;
}

/** What it cannot write, e.g. a BigInt that the schema leaves open, encode() refuses with the reason. */
function guarded(write: Write | null): Write | null {
  if (write === null) return null;
  return (value) => {
    try {
      return write(value);
    } catch {
      return encode(value);
    }
  };
}

/** Hot. */
function encode(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw unwritable(value, cause);
  }
  if (text !== undefined) return text;
  if (value === undefined) return 'null';
  throw unwritable(value, undefined);
}

function textOf(raw: Uint8Array): string {
  const bytes = raw instanceof Buffer ? raw : Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const text = bytes.toString('utf8');
  // Only text that has the sign for what could not be decoded needs the look at its bytes: half the cost of TextDecoder.
  if (text.includes('\ufffd') && !isUtf8(bytes)) {
    const problem = { path: '', message: `is not UTF-8 at byte ${findInvalidByte(raw)}`, expected: 'UTF-8' };
    throw malformed({ ...problem, hint: 'JSON is sent as UTF-8, whatever charset the content type names.' });
  }
  return text.charCodeAt(0) === BOM ? text.slice(1) : text;
}

/** Two searches of most bodies: each costs as much as parsing a few properties. */
function mayPollute(text: string): boolean {
  if (text.includes('proto') && (text.includes('__proto__') || text.includes('prototype"'))) return true;
  return text.includes('\\u00');
}

function syntaxProblem(text: string): Problem {
  const { at, expected } = findFault(text);
  const got = at >= text.length ? 'the end of the body' : 'something else';
  return { path: '', message: `is not JSON at ${place(text, at)}`, expected, got };
}

function refusePollution(value: unknown): void {
  const path = findPollution(value);
  if (path === null) return;
  throw malformed({ path, message: 'is a key that is not allowed here', hint: 'Use another name for it.' });
}

function malformed(problem: Problem): GantryError {
  return new GantryError('INPUT_MALFORMED', 'The body is not valid JSON', { problems: [problem] });
}

function tooDeep(maxDepth: number): GantryError {
  const expected = `at most ${maxDepth} levels`;
  return new GantryError('INPUT_TOO_DEEP', `The body is nested deeper than ${maxDepth} levels`, {
    problems: [{ path: '', message: `is nested deeper than ${maxDepth} levels`, expected }],
    hint: 'Where such bodies are wanted, raise plugins."codec.json".maxDepth.',
  });
}

function unwritable(value: unknown, cause: unknown): GantryError {
  const { path, why } = findUnwritable(value);
  return new GantryError('OUTPUT_INVALID', 'The output cannot be written as JSON', {
    cause,
    hint: `Mend the service: ${path === '' ? 'the output' : path} ${why}.`,
  });
}
