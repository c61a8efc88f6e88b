import { defineService, Type } from 'gantry/api';

const PEOPLE = [
  { id: 1, first_name: 'Ada', last_name: 'Lovelace', mail: 'ada@example.com' },
  { id: 2, first_name: 'Grace', last_name: 'Hopper', mail: null },
];

export default defineService({
  name: 'demo.crm',
  description: 'Plays the other system, so that the demo needs none: a CRM with two customers.',
  input: Type.Object({ id: Type.Integer() }),
  output: Type.Object({
    id: Type.Integer(),
    first_name: Type.String(),
    last_name: Type.String(),
    mail: Type.Union([Type.String(), Type.Null()]),
  }),
  errors: { UNKNOWN_ID: { kind: 'missing' } },
  create:
    ({ errors }) =>
    ({ id }) => {
      const person = PEOPLE.find((one) => one.id === id);
      if (person === undefined) throw errors.UNKNOWN_ID('No such id');
      return person;
    },
});
