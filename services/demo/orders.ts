import { defineService, Type } from 'gantry/api';

const Order = Type.Object({ id: Type.String(), sku: Type.String(), quantity: Type.Integer(), by: Type.String() });

export default defineService({
  name: 'demo.orders',
  description: 'Lists orders (GET, filtered by sku) and takes new ones (POST) while the stock lasts.',
  input: Type.Object({
    sku: Type.Optional(Type.String({ minLength: 1 })),
    quantity: Type.Integer({ minimum: 1, default: 1 }),
  }),
  output: Type.Union([Order, Type.Object({ orders: Type.Array(Order) })]),
  errors: { OUT_OF_STOCK: { kind: 'conflict', description: 'Fewer are left than were ordered.' } },
  create: ({ errors }) => {
    const stock = new Map([
      ['tea', 40],
      ['coffee', 25],
    ]);
    const orders: { id: string; sku: string; quantity: number; by: string }[] = [];
    return {
      get: ({ sku }) => ({ orders: sku === undefined ? orders : orders.filter((order) => order.sku === sku) }),
      post: ({ sku = 'tea', quantity }, call) => {
        const left = stock.get(sku) ?? 0;
        if (quantity > left) throw errors.OUT_OF_STOCK(`${left} of '${sku}' are left`);
        stock.set(sku, left - quantity);
        const order = { id: call.cid, sku, quantity, by: call.identity?.name ?? 'nobody' };
        orders.push(order);
        call.reply.status = 201;
        call.reply.headers = { location: `/demo/orders?sku=${encodeURIComponent(sku)}` };
        return order;
      },
    };
  },
});
