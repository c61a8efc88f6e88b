import { type Static, Type } from 'typebox';

/** What every server does per request: the same body, the same schemas, the same handler, the same key. */

export const KEY = 'b7f1c2d4-93a6-4f0e-8f6d-5c1e2a7b9d30';
export const KEY_HEADER = 'x-api-key';
export const CID_HEADER = 'x-correlation-id';
export const MAX_BODY_BYTES = 1_048_576;
export const SERVICE = 'bench.order';

const Address = Type.Object(
  {
    street: Type.String({ maxLength: 100 }),
    city: Type.String({ maxLength: 100 }),
    zip: Type.String({ maxLength: 20 }),
    country: Type.String({ minLength: 2, maxLength: 2 }),
  },
  { additionalProperties: false },
);

export const Order = Type.Object(
  {
    reference: Type.String({ minLength: 1, maxLength: 40 }),
    currency: Type.Union([Type.Literal('EUR'), Type.Literal('USD'), Type.Literal('PLN')]),
    customer: Type.Object(
      { name: Type.String({ minLength: 1 }), email: Type.String(), vip: Type.Boolean(), address: Address },
      { additionalProperties: false },
    ),
    items: Type.Array(
      Type.Object(
        {
          sku: Type.String({ minLength: 1, maxLength: 40 }),
          name: Type.String({ maxLength: 100 }),
          quantity: Type.Integer({ minimum: 1, maximum: 1000 }),
          unitPrice: Type.Number({ minimum: 0 }),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 100 },
    ),
    note: Type.Optional(Type.String({ maxLength: 500 })),
  },
  { additionalProperties: false },
);
export type Order = Static<typeof Order>;

export const Receipt = Type.Object(
  {
    reference: Type.String(),
    status: Type.String(),
    currency: Type.String(),
    shipTo: Address,
    lines: Type.Array(
      Type.Object(
        { position: Type.Integer(), sku: Type.String(), name: Type.String(), amount: Type.Number() },
        { additionalProperties: false },
      ),
    ),
    net: Type.Number(),
    tax: Type.Number(),
    total: Type.Number(),
  },
  { additionalProperties: false },
);
export type Receipt = Static<typeof Receipt>;

/** The handler. */
export function accept(order: Order): Receipt {
  const lines = order.items.map(({ sku, name, quantity, unitPrice }, i) => ({
    position: i + 1,
    sku,
    name,
    amount: cents(quantity * unitPrice),
  }));
  const net = cents(lines.reduce((sum, { amount }) => sum + amount, 0));
  const tax = cents(net * 0.23);
  return {
    reference: order.reference,
    status: 'accepted',
    currency: order.currency,
    shipTo: order.customer.address,
    lines,
    net,
    tax,
    total: cents(net + tax),
  };
}

function cents(amount: number): number {
  return Math.round(amount * 100) / 100;
}

/** The order that the client sends, about 1 kB as JSON. */
export const ORDER: Order = {
  reference: 'PO-2041-000381',
  currency: 'EUR',
  customer: {
    name: 'Zoë Nowak-Lindqvist',
    email: 'zoe.nowak@example.com',
    vip: false,
    address: { street: 'Długa 17/4', city: 'Kraków', zip: '31-147', country: 'PL' },
  },
  items: [
    { sku: 'A-10231', name: 'Bearing, sealed, 6204', quantity: 12, unitPrice: 4.35 },
    { sku: 'A-10988', name: 'Bearing, sealed, 6306', quantity: 4, unitPrice: 9.8 },
    { sku: 'C-00417', name: 'Coupling, jaw type, 24 mm', quantity: 2, unitPrice: 31.5 },
    { sku: 'F-55120', name: 'Flange, DN40, stainless', quantity: 6, unitPrice: 22.75 },
    { sku: 'G-77003', name: 'Gasket, EPDM, DN40', quantity: 24, unitPrice: 0.92 },
    { sku: 'M-00012', name: 'Motor, 1.5 kW, 1420 rpm', quantity: 1, unitPrice: 289 },
    { sku: 'S-20114', name: 'Screw M8x40, zinc plated', quantity: 200, unitPrice: 0.11 },
    { sku: 'W-20008', name: 'Washer M8, zinc plated', quantity: 400, unitPrice: 0.03 },
  ],
  note: 'Deliver to gate 3 between 7:00 and 14:00, ring the bell twice and ask for the shift lead.',
};
export const BODY = JSON.stringify(ORDER);

/** The addresses of the routes, all POST. */
export function paths(count: number, site = 'site'): string[] {
  return Array.from({ length: count }, (_, i) => `/shop/v1/${site}-${i}/orders`);
}
export const ROUTES = 500;
