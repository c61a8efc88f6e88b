import { Type } from 'typebox';
import type { Kind } from '../ports/kind.ts';
import { Name } from './name.ts';

const Dictionary = Type.Object(
  {
    name: Name('dictionaries'),
    entries: Type.Optional(Type.Record(Type.String(), Type.String(), { default: {}, description: 'Key to value' })),
    rows: Type.Optional(
      Type.Array(Type.Record(Type.String(), Type.String()), {
        description: 'Texts that mean the same, each row by system: for `dictionaries.translate`',
      }),
    ),
  },
  { additionalProperties: false },
);

export const dictionary: Kind = {
  description: 'A table of texts by key',
  schema: Dictionary,
  fields: [],
  roles: { read: 'viewer', write: 'developer' },
};
