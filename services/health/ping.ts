import { defineService, Type } from 'gantry/api';

export default defineService({
  name: 'gantry.ping',
  description: 'Answers as long as this server takes calls.',
  input: Type.Unknown(),
  output: Type.Object({
    ok: Type.Literal(true),
    server: Type.String({ description: 'Its name' }),
    cid: Type.String({ description: "This call's id" }),
  }),
  create:
    ({ server }) =>
    (_input, { cid }) => ({ ok: true as const, server: server.name, cid }),
});
