import { defineService } from 'gantry/api';
import { accept, Order, Receipt, SERVICE } from '../work.ts';

export default defineService({
  name: SERVICE,
  description: 'Accepts an order: what every measured server does.',
  input: Order,
  output: Receipt,
  create: () => accept,
});
