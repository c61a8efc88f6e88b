import type { Loader } from '../loading/loader.ts';
import { ownPlugins } from '../loading/plugins.ts';
import { Config } from './root.ts';

type Schema = Record<string, unknown>;

/**
 * The JSON schema of config files, for editors (completion, checks while typing) and for docs: the root, and the block
 * of every plugin that comes with this package. A string may stand where a reference writes another type.
 */
export async function configSchema(loader: Loader): Promise<Schema> {
  const blocks: Schema = {};
  for (const id of ownPlugins()) blocks[id] = block((await loader.plugin(id, process.cwd())).config as Schema);
  const root = JSON.parse(JSON.stringify(Config)) as { properties: Record<string, Schema> };
  root.properties['plugins'] = {
    type: 'object',
    description: (root.properties['plugins'] as { description?: string }).description,
    properties: blocks,
    patternProperties: {
      '^[a-z]+\\.[a-z0-9-]+$': { type: ['object', 'null'], properties: ENTRY, description: 'A plugin of your own' },
    },
    additionalProperties: false,
  };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Gantry config file',
    type: 'object',
    properties: {
      extends: { type: 'string', description: 'A config file beside this one, which this one is laid over' },
      ...(referable(root.properties) as object),
    },
    additionalProperties: false,
  };
}

const ENTRY: Schema = {
  use: { type: 'string', description: 'The module: an id of ours, a path beside this file, or an npm package' },
  optional: { type: 'boolean', description: 'Its start failure is a warning', default: false },
};

/** A plugin's own schema with what every entry may have; nothing is required, since a lower layer may give it. */
function block(schema: Schema): Schema {
  const { properties = {}, required: _required, ...rest } = JSON.parse(JSON.stringify(schema)) as Schema;
  return { ...rest, type: ['object', 'null'], properties: { ...ENTRY, ...(properties as Schema) } };
}

/** Numbers and booleans may be written by a reference; layers may leave out what is required. */
function referable(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(referable);
  if (typeof node !== 'object' || node === null) return node;
  const { type, required: _required, secret: _secret, ...rest } = node as Schema & { type?: unknown };
  const inner = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, referable(value)]));
  if (type === 'integer' || type === 'number' || type === 'boolean') {
    return { ...inner, type: [type, 'string'], pattern: '\\$\\{(env|file):' };
  }
  return type === undefined ? inner : { ...inner, type };
}
