import { createHash } from 'node:crypto';
import { defineService, Stream, Type } from 'gantry/api';

export default defineService({
  name: 'demo.digest',
  description: 'Reads a body of any size as it comes and answers with its size and SHA-256.',
  input: Stream,
  output: Type.Object({ bytes: Type.Integer(), sha256: Type.String() }),
  create: () => async (body) => {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    return { bytes, sha256: hash.digest('hex') };
  },
});
