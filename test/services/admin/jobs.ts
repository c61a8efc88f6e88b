/** A server with the real scheduler on SQLite, and services whose runs a test watches and holds. */
import { type Call, defineService, GantryError, ROLES, Type } from '../../../core/api.ts';
import { until } from '../../chaos/condition.ts';
import { type AdminOptions, type AdminServer, adminServer, basic, PASSWORD } from './server.ts';

export interface Worked {
  readonly input: unknown;
  readonly firing: Call['firing'];
  readonly by: string | null;
}

export interface JobServer extends AdminServer {
  /** Each run of test.work, in order. */
  readonly worked: readonly Worked[];
  /** How many are held. */
  readonly held: number;
  /** Lets those that are held end. */
  release(): void;
  /** Waits until a run has ended, and gives its attempts. */
  ended(token: string): Promise<readonly Attempt[]>;
  /** Invokes test.work durably, with one attempt; gives its token. */
  durably(input: unknown, options?: object): Promise<string>;
}

export interface Attempt {
  readonly attempt: number;
  readonly state: string;
  readonly outcome: string | null;
  readonly code: string | null;
  readonly reason: string | null;
  readonly dead: boolean;
}

/** A user of each role, named after it. */
export const as = (role: (typeof ROLES)[number]) => basic(`a ${role}`);

export async function jobServer({ config = {}, services = [], ...rest }: AdminOptions = {}): Promise<JobServer> {
  const worked: Worked[] = [];
  let gates: (() => void)[] = [];
  const work = defineService({
    name: 'test.work',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => async (input, call) => {
      worked.push({ input, firing: call.firing, by: call.identity?.name ?? null });
      const { fail, hold } = (input ?? {}) as { fail?: boolean; hold?: boolean };
      if (hold === true) {
        await new Promise<void>((resolve, reject) => {
          gates.push(resolve);
          call.signal.addEventListener('abort', () => reject(call.signal.reason));
        });
      }
      if (fail === true) throw new GantryError('CONFLICT', 'as it was told');
      return { done: true };
    },
  });
  const later = defineService({
    name: 'test.later',
    input: Type.Object({ input: Type.Unknown(), service: Type.String(), options: Type.Unknown() }),
    output: Type.Object({ token: Type.String() }),
    create:
      () =>
      async ({ input, service, options }, call) => {
        const durable = { attempts: 1, ...(options as object) };
        return { token: await call.invokeAsync(service, input, { durable }) };
      },
  });
  const secret = defineService({
    name: 'test.secret',
    attributes: { admin: { role: 'administrator' } },
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => () => {
      throw new GantryError('CONFLICT', 'not now');
    },
  });
  const server = await adminServer({
    config: { 'scheduler.agenda': { beatMs: 100 }, ...config },
    services: [work, later, secret, ...services],
    ...rest,
  });
  for (const role of ROLES) {
    if (server.kernel.cradle.records.find('user', `a ${role}`) === null)
      await server.good('gantry.user.create', { name: `a ${role}`, role, password: PASSWORD });
  }
  return {
    ...server,
    worked,
    get held() {
      return gates.length;
    },
    release() {
      for (const open of gates) open();
      gates = [];
    },
    async ended(token) {
      let attempts: Attempt[] = [];
      await until(`run ${token} has ended`, async () => {
        attempts = (await server.good('gantry.run.get', { token })).attempts;
        return attempts.at(-1)?.state === 'ended';
      });
      return attempts;
    },
    async durably(input, options = {}) {
      const invocation = { name: 'test.later', input: { service: 'test.work', input, options } };
      const { output } = await server.good('gantry.service.invoke', invocation);
      return output.token;
    },
  };
}
