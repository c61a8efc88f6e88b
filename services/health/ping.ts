import { defineService, GantryError, Type } from 'gantry/api';

export default defineService({
  name: 'gantry.ping',
  description: 'Answers as long as this server should be given calls.',
  input: Type.Unknown(),
  output: Type.Object({
    ok: Type.Literal(true),
    server: Type.String({ description: 'Its name' }),
    cid: Type.String({ description: "This call's id" }),
  }),
  create:
    ({ server }) =>
    (_input, { cid }) => {
      // Calls are served still: this is for who chooses where the next ones go.
      if (server.unfit !== null) throw new GantryError('SERVER_DRAINING', `This server ${server.unfit}`);
      return { ok: true as const, server: server.name, cid };
    },
});
