import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { TSchema } from 'typebox';
import { Clean, Clone } from 'typebox/value';
import { didYouMean, GantryError, type Problem } from './errors.ts';

/** Our own keywords: `secret` marks a config field, `content` a service that takes its body raw. */
const VOCABULARY = ['secret', 'content', 'discriminator'];
const STRICT = { strict: true, strictTypes: false, strictTuples: false, strictRequired: false } as const;

function validator(options: ConstructorParameters<typeof Ajv>[0]): Ajv {
  const ajv = new Ajv({ ...STRICT, allowUnionTypes: true, useDefaults: true, ...options });
  ajv.addVocabulary(VOCABULARY);
  addFormats.default(ajv);
  return ajv;
}

const forConfig = validator({ allErrors: true, verbose: true });
const forCalls = validator({ verbose: true });

export type Check = (value: unknown) => readonly Problem[];

const none: readonly Problem[] = Object.freeze([]);

/** For what operators write: lists every problem, with dotted paths below `at`. Fills in defaults. */
export function compileConfig(schema: TSchema): (value: unknown, at: string) => readonly Problem[] {
  const validate = forConfig.compile(schema);
  return (value, at) => (validate(value) ? none : problems(validate, (pointer) => at + dotted(pointer)));
}

/** For input of a call: lists the first problem, with a JSON pointer (RFC 6901). Fills in defaults. */
export function compileCheck(schema: TSchema, of: string): Check {
  const validate = compiled(schema, of);
  return (value) => (validate(value) ? none : problems(validate, (pointer) => pointer));
}

/**
 * For output of a call: gives what the schema names of it and throws OUTPUT_INVALID for what does not fit. The value
 * itself is never changed, since a service may go on using it; where nothing is to be taken away it is not copied.
 */
export function compileOutput(schema: TSchema, of: string): (value: unknown) => unknown {
  const exact = compiled(closed(schema) as TSchema, of);
  const loose = compiled(schema, of);
  const defaults = hasDefaults(schema);
  return (value) => {
    if (!defaults && exact(value)) return value;
    const copy = Clean(schema, Clone(value));
    if (loose(copy)) return copy;
    const wrong = problems(loose, (pointer) => pointer);
    throw new GantryError('OUTPUT_INVALID', `${of} gave an output that is not what it declares`, {
      cause: wrong,
      hint: `Mend the service or its output schema: ${wrong.map((p) => `${p.path || '/'} ${p.message}`).join('; ')}`,
    });
  };
}

function compiled(schema: TSchema, of: string): ValidateFunction {
  try {
    return forCalls.compile(schema);
  } catch (cause) {
    throw new GantryError('SERVICE_INVALID', `${of} has a schema that is not valid: ${(cause as Error).message}`, {
      cause,
      hint: 'Schemas are made with Type from gantry/api; formats are those of ajv-formats.',
    });
  }
}

/** The same schema with every object closed that says nothing about further properties. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    copy[key] = key === 'const' || key === 'enum' || key === 'default' || key === 'examples' ? value : closed(value);
  }
  const object = schema as { type?: unknown; properties?: unknown };
  if (object.type === 'object' && object.properties !== undefined && !('additionalProperties' in schema)) {
    copy['additionalProperties'] = false;
  }
  return copy;
}

/** Whether checking may write into the value. */
export function hasDefaults(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false;
  if (!Array.isArray(schema) && 'default' in schema && typeof schema.default !== 'object') return true;
  return Object.values(schema).some(hasDefaults);
}

function problems(validate: ValidateFunction, locate: (pointer: string) => string): Problem[] {
  const all = validate.errors ?? [];
  // A failed union reports each branch; the union's own line is the one that tells.
  const unions = all.filter((e) => e.keyword === 'anyOf' || e.keyword === 'oneOf').map((e) => `${e.schemaPath}/`);
  const told = all.filter((e) => !unions.some((path) => e.schemaPath.startsWith(path)) && e.keyword !== 'if');
  return told.map((error) => problem(error, locate));
}

function problem(error: ErrorObject, locate: (pointer: string) => string): Problem {
  const { keyword, params, instancePath: at, data, parentSchema } = error;
  const got = describe(data, parentSchema);
  switch (keyword) {
    case 'required':
      return { path: locate(`${at}/${escape(params['missingProperty'])}`), message: 'is required', got: 'nothing' };
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const name = String(params['additionalProperty'] ?? params['unevaluatedProperty']);
      const known = Object.keys((parentSchema as { properties?: object } | undefined)?.properties ?? {});
      const hint = didYouMean(name, known) || (known.length > 0 ? `Known: ${known.join(', ')}.` : '');
      return {
        path: locate(`${at}/${escape(name)}`),
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
      return { ...wrong(`must be one of ${allowed.join(', ')}`), ...hinted(didYouMean(String(data), allowed)) };
    }
    case 'const':
      return wrong(`must be ${JSON.stringify(params['allowedValue'])}`);
    case 'anyOf':
    case 'oneOf': {
      const values = constants(parentSchema as { anyOf?: unknown[]; oneOf?: unknown[] });
      if (values === null) return wrong('fits none of the forms that are allowed here');
      return { ...wrong(`must be one of ${values.join(', ')}`), ...hinted(didYouMean(String(data), values)) };
    }
    default:
      return wrong(error.message ?? keyword);
  }

  function wrong(message: string): Problem {
    return { path: locate(at), message, expected: message.replace(/^must (be )?/, ''), got };
  }
}

function hinted(hint: string): { hint?: string } {
  return hint === '' ? {} : { hint };
}

function constants(schema: { anyOf?: unknown[]; oneOf?: unknown[] }): string[] | null {
  const branches = (schema.anyOf ?? schema.oneOf ?? []) as { const?: unknown }[];
  return branches.every((b) => b.const !== undefined) ? branches.map((b) => String(b.const)) : null;
}

/** What was there, short enough for a line, and nothing of it where it is secret. */
function describe(value: unknown, schema: unknown): string {
  if ((schema as { secret?: boolean } | undefined)?.secret === true) return 'a secret';
  if (typeof value === 'string') return value.length > 40 ? `a string of ${value.length}` : JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? 'an object' : String(value);
}

function article(noun: string): string {
  return noun === 'null' ? noun : `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}
function escape(key: unknown): string {
  return String(key).replaceAll('~', '~0').replaceAll('/', '~1');
}
function dotted(pointer: string): string {
  return pointer.replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~');
}
