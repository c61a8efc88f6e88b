import { defineService, Type } from 'gantry/api';

interface CrmCustomer {
  readonly id: number;
  readonly first_name: string;
  readonly last_name: string;
  readonly mail: string | null;
}

export default defineService({
  name: 'demo.customer.get',
  description: 'Asks the CRM for a customer and answers in the words of this system.',
  input: Type.Object({ id: Type.Integer({ minimum: 1 }) }),
  output: Type.Object({ id: Type.Integer(), name: Type.String(), email: Type.Union([Type.String(), Type.Null()]) }),
  errors: { NO_SUCH_CUSTOMER: { kind: 'missing', description: 'The CRM does not know the id.' } },
  create:
    ({ connections, errors }) =>
    async ({ id }, call) => {
      const to = { method: 'GET', path: '/customers/{id}', params: { id: String(id) }, accept: [404] };
      const answer = await connections.get('crm').send<{ status: number; body: CrmCustomer }>({ to }, call);
      if (answer.status === 404) throw errors.NO_SUCH_CUSTOMER(`No customer has the id ${id}`);
      const { first_name: first, last_name: last, mail } = answer.body;
      return { id, name: `${first} ${last}`, email: mail };
    },
});
