import { Ajv } from 'ajv';
import { Order, Receipt } from '../work.ts';

/** The options that Gantry compiles a service's schemas with. */
export const AJV_OPTIONS = { useDefaults: true, strict: true, strictTypes: false, allowUnionTypes: true } as const;

const ajv = new Ajv(AJV_OPTIONS);

/** The plain JSON schema, without what TypeBox keeps for its types. */
export function plainSchema(schema: object): object {
  return JSON.parse(JSON.stringify(schema)) as object;
}
export const isOrder = ajv.compile<Order>(plainSchema(Order));
export const isReceipt = ajv.compile<Receipt>(plainSchema(Receipt));
