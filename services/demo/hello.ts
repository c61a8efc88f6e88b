import { defineService, Type } from 'gantry/api';

export default defineService({
  name: 'demo.hello',
  description: 'Greets a person.',
  input: Type.Object({ name: Type.String({ minLength: 1 }) }, { examples: [{ name: 'Ada' }] }),
  output: Type.Object({ greeting: Type.String() }),
  create:
    () =>
    ({ name }) => ({ greeting: `Hello, ${name}` }),
});
