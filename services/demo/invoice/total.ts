import { defineService, Type } from 'gantry/api';

const Line = Type.Object({
  sku: Type.String({ minLength: 1 }),
  quantity: Type.Integer({ minimum: 1 }),
  /** In cents: money is never a fraction of a binary number. */
  unitCents: Type.Integer({ minimum: 0 }),
  taxPercent: Type.Number({ minimum: 0, maximum: 100, default: 20 }),
});

export default defineService({
  name: 'demo.invoice.total',
  description: 'Adds up the lines of an invoice, tax by rate. Takes and gives JSON, XML or a form.',
  input: Type.Object({
    customer: Type.String({ minLength: 1 }),
    line: Type.Array(Line, { minItems: 1, maxItems: 1000 }),
  }),
  output: Type.Object({
    customer: Type.String(),
    netCents: Type.Integer(),
    tax: Type.Array(Type.Object({ percent: Type.Number(), cents: Type.Integer() })),
    grossCents: Type.Integer(),
  }),
  create:
    () =>
    ({ customer, line }) => {
      const nets = new Map<number, number>();
      for (const { quantity, unitCents, taxPercent } of line) {
        nets.set(taxPercent, (nets.get(taxPercent) ?? 0) + quantity * unitCents);
      }
      const rates = [...nets].sort(([a], [b]) => a - b);
      const tax = rates.map(([percent, net]) => ({ percent, cents: Math.round((net * percent) / 100) }));
      const netCents = rates.reduce((sum, [, net]) => sum + net, 0);
      const grossCents = tax.reduce((sum, { cents }) => sum + cents, netCents);
      return { customer, netCents, tax, grossCents };
    },
});
