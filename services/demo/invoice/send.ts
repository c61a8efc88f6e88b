import { defineService, Type } from 'gantry/api';

const Letter = Type.Object({
  invoice: Type.String({ minLength: 1, maxLength: 100 }),
  to: Type.String({ minLength: 3 }),
});

/** Two services: the one that answers, and the one whose work must not be forgotten. */
export default [
  defineService({
    name: 'demo.invoice.send',
    description: 'Takes an invoice to be sent, and answers at once: some server sends it, again until that works.',
    input: Letter,
    output: Type.Object({ token: Type.String({ description: 'Of the run, for `gantry run get`' }) }),
    create: () => async (letter, call) => {
      // Asked for twice, an invoice is sent once.
      const durable = { key: letter.invoice, attempts: 5 };
      const token = await call.invokeAsync('demo.invoice.deliver', letter, { durable });
      call.reply.status = 202;
      return { token };
    },
  }),
  defineService({
    name: 'demo.invoice.deliver',
    description: 'Hands an invoice to the post.',
    input: Letter,
    output: Type.Object({ receipt: Type.String() }),
    create:
      ({ log }) =>
      ({ invoice, to }, { firing, cid }) => {
        // Another system would be given the token as a key, so that a second attempt is no second letter.
        const receipt = firing?.token ?? cid;
        log.info({ invoice, to, receipt, attempt: firing?.attempt }, 'an invoice was sent');
        return { receipt };
      },
  }),
];
