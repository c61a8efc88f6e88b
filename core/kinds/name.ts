import { Type } from 'typebox';

/** The name of a record. Engines differ in what they do with control characters, and people cannot see them. */
export const Name = (of: string) =>
  Type.String({
    minLength: 1,
    maxLength: 200,
    pattern: '^[^\\u0000-\\u001f\\u007f]+$',
    description: `Unique among ${of}`,
  });
