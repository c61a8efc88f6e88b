import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { TSchema } from 'typebox';
import { didYouMean, GantryError, type Problem } from '../errors.ts';
import { keyOf, pointerOf, stepsOf } from '../path.ts';
import { isRecord, type Node, pick } from './pick.ts';

/** Our own keywords: `secret` marks a config field, `content` a service that takes its body raw. */
const VOCABULARY = ['secret', 'content', 'discriminator'];
const STRICT = { strict: true, strictTypes: false, strictTuples: false, strictRequired: false } as const;

function validator(options: Options): Ajv {
  const ajv = new Ajv({ ...STRICT, allowUnionTypes: true, useDefaults: true, ...options });
  ajv.addVocabulary(VOCABULARY);
  addFormats.default(ajv);
  return ajv;
}

type Options = ConstructorParameters<typeof Ajv>[0];
const forConfig: Options = { allErrors: true, verbose: true };
const forCalls: Options = { verbose: true };
/** Knows the grammar of schemas, which takes long to compile, and compiles nothing else. */
let grammar: Ajv | null = null;
/** Compiles what is never forgotten. */
let lasting: Ajv | null = null;

/** An ajv keeps what it compiled, and every `$id` in it, for ever: each schema has its own, to be forgotten with it. */
function compile(schema: TSchema, options: Options): ValidateFunction {
  grammar ??= validator({});
  if (!grammar.validateSchema(schema)) throw new Error(grammar.errorsText());
  const one = () => validator({ ...options, meta: false, validateSchema: false });
  // Those of plugins and kinds are there as long as the process: without an `$id`, they can do with the same.
  const shared = options === forConfig && !hasId(schema);
  return (shared ? (lasting ??= one()) : one()).compile(schema);
}

export type Check = (value: unknown) => readonly Problem[];

const none: readonly Problem[] = Object.freeze([]);

/**
 * For what operators write: lists every problem, with dotted paths below `at`. Fills in defaults. A key that the schema
 * does not name is a problem, unless the schema itself says more about further keys. `locate` makes something else of
 * the JSON pointer (RFC 6901) to a place.
 */
export function compileConfig(
  schema: TSchema,
  of = 'a plugin',
): (value: unknown, at: string, locate?: (pointer: string) => string) => readonly Problem[] {
  let validate: ValidateFunction;
  try {
    validate = once(CONFIG, schema, () => compile(closed(schema, isPart) as TSchema, forConfig));
  } catch (cause) {
    throw new GantryError('PLUGIN_MALFORMED', `${of} has a schema that is not valid: ${(cause as Error).message}`, {
      cause,
    });
  }
  return (value, at, locate = (pointer) => at + dotted(pointer)) =>
    validate(value) ? none : problems(validate, locate);
}

/**
 * When a schema of a service is compiled: at once, so that a wrong one is refused, or when it is first used. That saves
 * most of a start, and is for schemas of which a test knows that they are valid.
 */
export type When = 'now' | 'later';

/** For input of a call: lists the first problem, with a JSON pointer (RFC 6901). Fills in defaults. */
export function compileCheck(schema: TSchema, of: string, when: When = 'now'): Check {
  const validate = first(() => once(OPEN, schema, () => compiled(schema, of)), when);
  return (value) => (validate()(value) ? none : problems(validate(), (pointer) => pointer));
}

/** What `make` gives, made when it is first asked for or, `now`, before that. */
function first<T>(make: () => T, when: When): () => T {
  let made = when === 'now' ? make() : undefined;
  return () => (made ??= make());
}

/** Gives what a schema names of a value; the value itself where that is all of it. */
export interface Clean {
  (value: unknown): unknown;
  readonly schema: TSchema;
}

/**
 * For output of a call: gives what the schema names of it and throws OUTPUT_INVALID for what does not fit. The value
 * itself is never changed, since a service may go on using it; where nothing is to be taken away it is not copied.
 */
export function compileOutput(schema: TSchema, of: string, when: When = 'now'): Clean {
  const exact = first(() => once(CLOSED, schema, () => compiled(closed(schema) as TSchema, of)), when);
  // Most services give what they declare: then it is never needed.
  const loose = (value: unknown) => once(OPEN, schema, () => compiled(schema, of))(value);
  const defaults = hasDefaults(schema);
  const refuse = (cause: unknown, why: string) =>
    new GantryError('OUTPUT_INVALID', `${of} gave an output that is not what it declares`, {
      cause,
      hint: `Mend the service or its output schema: ${why}`,
    });
  const clean = (value: unknown): unknown => {
    if (value === undefined && loose(null) === true) return undefined;
    let copy: unknown;
    try {
      if (!defaults && exact()(value)) return value;
      copy = pick(schema as Node, value, {});
      if (loose(copy)) return copy;
    } catch (thrown) {
      // E.g. a getter that throws, or a circle where the schema is recursive.
      throw refuse(thrown, (thrown as Error).message);
    }
    const wrong = problems(
      once(OPEN, schema, () => compiled(schema, of)),
      (pointer) => pointer,
    );
    throw refuse(wrong, wrong.map((p) => `${p.path || '/'} ${p.message}`).join('; '));
  };
  return Object.assign(clean, { schema });
}

/** What services share, e.g. the schema of one record, is compiled once. Forgotten with the schema. */
const CONFIG = new WeakMap<object, ValidateFunction>();
const OPEN = new WeakMap<object, ValidateFunction>();
const CLOSED = new WeakMap<object, ValidateFunction>();

function once(
  known: WeakMap<object, ValidateFunction>,
  schema: object,
  make: () => ValidateFunction,
): ValidateFunction {
  let validate = known.get(schema);
  if (validate === undefined) known.set(schema, (validate = make()));
  return validate;
}

function compiled(schema: TSchema, of: string): ValidateFunction {
  try {
    return compile(schema, forCalls);
  } catch (cause) {
    throw new GantryError('SERVICE_INVALID', `${of} has a schema that is not valid: ${(cause as Error).message}`, {
      cause,
      hint: 'Schemas are made with Type from gantry/api; formats are those of ajv-formats.',
    });
  }
}

/** Keywords that hold data, or a schema that must not be narrowed; and those that hold schemas under free names. */
const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'examples', 'not', 'if']);
const NAMED: ReadonlySet<string> = new Set(['properties', 'patternProperties', '$defs', 'definitions']);

function mapped(map: object, change: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, change(value)]));
}

/** The parts of an intersection name only their own keys. */
const isPart = (key: string) => key === 'allOf';

/** The same schema with every object closed that says nothing about further properties, but for what is `left` alone. */
function closed(schema: unknown, left = (_key: string) => false): unknown {
  const close = (part: unknown) => closed(part, left);
  if (Array.isArray(schema)) return schema.map(close);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    copy[key] = DATA.has(key) || left(key) ? value : NAMED.has(key) ? mapped(value as object, close) : close(value);
  }
  const object = schema as { type?: unknown; properties?: unknown };
  if (object.type === 'object' && object.properties !== undefined && !('additionalProperties' in schema)) {
    copy['additionalProperties'] = false;
  }
  return copy;
}

function hasId(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  return '$id' in schema || Object.values(schema).some(hasId);
}

/** Whether checking may write into the value. */
export function hasDefaults(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  if (Array.isArray(schema)) return schema.some(hasDefaults);
  if ('default' in schema) return true;
  return Object.entries(schema).some(([key, value]) => {
    if (DATA.has(key)) return false;
    return NAMED.has(key) ? Object.values(value as object).some(hasDefaults) : hasDefaults(value);
  });
}

function problems(validate: ValidateFunction, locate: (pointer: string) => string): Problem[] {
  const all = validate.errors ?? [];
  // A failed union reports each branch; the union's own line is the one that tells, unless it is seen which is meant.
  const unions = all.filter((e) => e.keyword === 'anyOf' || e.keyword === 'oneOf');
  const meant = new Map(unions.map((e) => [e, meantBranch(e)]));
  const told = all.filter((e) => {
    if (e.keyword === 'if' || (meant.get(e) ?? null) !== null) return false;
    return unions.every((union) => {
      if (!e.schemaPath.startsWith(`${union.schemaPath}/`)) return true;
      const branch = meant.get(union) ?? null;
      return branch !== null && e.schemaPath.startsWith(`${union.schemaPath}/${branch}/`);
    });
  });
  return told.map((error) => problem(error, locate));
}

interface Branch {
  readonly const?: unknown;
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, Branch>>;
  readonly required?: readonly string[];
}

/** Which form of a union a value is meant to have: the one whose constants (`kind: 'basic'`) it has. Else null. */
function meantBranch({ data, parentSchema, keyword }: ErrorObject): number | null {
  if (!isRecord(data)) return null;
  const branches = ((parentSchema ?? {}) as Record<string, unknown>)[keyword] as readonly Branch[];
  const fitting = branches.flatMap(({ properties = {} }, i) => {
    const constants = Object.entries(properties).filter(([, own]) => own.const !== undefined);
    return constants.length > 0 && constants.every(([key, own]) => data[key] === own.const) ? [i] : [];
  });
  return fitting.length === 1 ? (fitting[0] as number) : null;
}

/** A form of a union in a few words. */
function formOf({ const: value, type, properties = {}, required = [] }: Branch): string {
  if (value !== undefined) return JSON.stringify(value);
  if (type !== 'object') return typeof type === 'string' ? article(type === 'array' ? 'list' : type) : 'another value';
  const keys = Object.entries(properties).map(([key, own]) => {
    const text = own.const === undefined ? key : `${key}: ${JSON.stringify(own.const)}`;
    return required.includes(key) ? text : `${text}?`;
  });
  return `{ ${keys.join(', ')} }`;
}

function problem(error: ErrorObject, locate: (pointer: string) => string): Problem {
  const { keyword, params, instancePath: at, data, parentSchema } = error;
  const got = describe(data, parentSchema);
  switch (keyword) {
    case 'required':
      return {
        path: locate(`${at}${pointerOf([String(params['missingProperty'])])}`),
        message: 'is required',
        got: 'nothing',
      };
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const name = String(params['additionalProperty'] ?? params['unevaluatedProperty']);
      const known = Object.keys((parentSchema as { properties?: object } | undefined)?.properties ?? {});
      const hint = didYouMean(name, known) || (known.length > 0 ? `Known: ${known.join(', ')}.` : '');
      return {
        path: locate(`${at}${pointerOf([name])}`),
        message: 'is not known here',
        ...(known.length > 0 ? { expected: `one of ${known.join(', ')}` } : {}),
        got: name,
        ...(hint === '' ? {} : { hint }),
      };
    }
    case 'type':
      return wrong(`must be ${article(String(params['type']).replaceAll(',', ' or '))}`);
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String);
      return { ...wrong(`must be one of ${allowed.join(', ')}`), ...nearest(data, allowed) };
    }
    case 'minLength':
    case 'maxLength':
    case 'minItems':
    case 'maxItems':
    case 'minProperties':
    case 'maxProperties':
      return wrong(
        `must have ${keyword.startsWith('min') ? 'at least' : 'at most'} ${counted(keyword, params['limit'])}`,
      );
    case 'minimum':
      return wrong(`must be ${params['limit']} or more`);
    case 'maximum':
      return wrong(`must be ${params['limit']} or less`);
    case 'pattern':
      return { ...wrong(`must match ${params['pattern']}`), expected: `text that matches ${params['pattern']}` };
    case 'const':
      return wrong(`must be ${JSON.stringify(params['allowedValue'])}`);
    case 'anyOf':
    case 'oneOf': {
      const values = constants(parentSchema as { anyOf?: unknown[]; oneOf?: unknown[] });
      if (values === null) {
        const forms = (((parentSchema ?? {}) as Record<string, unknown>)[keyword] as readonly Branch[]).map(formOf);
        return { ...wrong('fits none of the forms that are allowed here'), expected: forms.join(' or ') };
      }
      return { ...wrong(`must be one of ${values.join(', ')}`), ...nearest(data, values) };
    }
    default:
      return wrong(error.message ?? keyword);
  }

  function wrong(message: string): Problem {
    return { path: locate(at), message, expected: message.replace(/^must (be |have )?/, ''), got };
  }
}

/** 'minLength', 3: '3 characters'. */
function counted(keyword: string, limit: unknown): string {
  const noun = keyword.endsWith('Length') ? 'character' : keyword.endsWith('Items') ? 'item' : 'key';
  return `${limit} ${noun}${limit === 1 ? '' : 's'}`;
}

/** Only for text: what a caller sends instead may be an object that cannot be made into text at all. */
function nearest(given: unknown, allowed: readonly string[]): { hint?: string } {
  const hint = typeof given === 'string' ? didYouMean(given, allowed) : '';
  return hint === '' ? {} : { hint };
}

function constants(schema: { anyOf?: unknown[]; oneOf?: unknown[] }): string[] | null {
  const branches = (schema.anyOf ?? schema.oneOf ?? []) as { const?: unknown }[];
  return branches.every((b) => b.const !== undefined) ? branches.map((b) => String(b.const)) : null;
}

function isSecret(schema: unknown): boolean {
  const {
    secret,
    anyOf = [],
    oneOf = [],
    allOf = [],
  } = (schema ?? {}) as { secret?: boolean; anyOf?: unknown[]; oneOf?: unknown[]; allOf?: unknown[] };
  return secret === true || [...anyOf, ...oneOf, ...allOf].some(isSecret);
}

/** What was there, short enough for a line, and nothing of it where it is secret. */
function describe(value: unknown, schema: unknown): string {
  // Of what it is no text, the kind tells nothing of it.
  if (isSecret(schema)) return typeof value === 'string' ? 'a secret' : `a secret that is ${article(kindOf(value))}`;
  if (typeof value === 'string') return value.length > 40 ? `a string of ${value.length}` : JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? 'an object' : String(value);
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
}

function article(noun: string): string {
  return noun === 'null' ? noun : `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}
function dotted(pointer: string): string {
  return keyOf(stepsOf(pointer));
}
