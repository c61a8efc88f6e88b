import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../condition.ts';
import { books, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { trial } from '../trial.ts';
import type { World } from '../world.ts';

const SETTING = 'chaos-probe';
const KINDS = ['get', 'post', 'noted'] as const;
const KEY = 'x-of-the-outage';

/** The database is stopped for a while. What itself writes to it is asked for beside the load, and told. */
export const database: Scenario = async (world, terms) => {
  let refused: readonly string[] = [];
  let needing = 0;
  let repeated = 0;
  let backMs = 0;
  const done = await trial(world, { ...terms, kinds: KINDS }, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    mark('the database is stopped');
    await world.database.stop();
    const over = wait(terms.awayMs);
    refused = await Promise.all(world.servers.map(({ admin }) => change(admin)));
    needing = await keyed(world);
    await over;
    await world.database.start();
    mark('the database is there again');
    const taken = world.servers.map(({ admin, name }) =>
      until(`${name} takes changes`, async () => isTaken(await change(admin))),
    );
    backMs = Math.max(...(await Promise.all(taken)));
    mark('every server takes changes');
    repeated = await keyed(world);
    await answers(world.names[0] as string);
  });
  const effects = (await world.effects.of('x')).get(KEY) ?? 0;
  await world.admin.call('setting.remove', { name: SETTING });
  return {
    title: `the database stopped for ${terms.awayMs / 1000} s`,
    about: [
      ...notesOf(done),
      `every server takes changes again ${Math.round(backMs)} ms after the database`,
      `a POST with a key whose effect is in the database: ${needing} meanwhile, ${repeated} when it was repeated with the same key`,
    ],
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, ...KINDS),
      ...books(done),
      strict(
        'changes are refused meanwhile',
        refused.every((one) => one === '503 ODB_UNAVAILABLE'),
        refused.join(', '),
      ),
      strict(
        'what needs it is refused, and done once when it is repeated',
        needing === 503 && repeated === 200 && effects === 1,
        `${needing}, ${repeated}, ${effects} effect(s)`,
      ),
      strict('every server recovers by itself', await agree(world), 'they run with the same revision'),
    ],
  };
};

type Asking = World['admin'];

/** Makes or changes a setting; gives the status and the code. */
async function change(admin: Asking): Promise<string> {
  const { status, body } = await admin.ask('setting.create', { name: SETTING, value: 1 });
  return `${status} ${status === 200 ? '' : String(body['code'])}`.trim();
}
/** The first server makes it, and the others are told so. */
function isTaken(answer: string): boolean {
  return answer === '200' || answer === '409 RECORD_DUPLICATE';
}

async function keyed({ url }: World): Promise<number> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': KEY, 'x-correlation-id': KEY };
  const body = JSON.stringify({ slowMs: 0, padding: '' });
  const response = await fetch(`${url}/chaos/keyed`, { method: 'POST', headers, body });
  await response.arrayBuffer();
  return response.status;
}

/** Whether all servers come to run with the same revision. */
export async function agree(world: World): Promise<boolean> {
  const revisions = async () => Promise.all(world.servers.map(({ admin }) => revisionOf(admin)));
  await until('all servers run with the same revision', async () => new Set(await revisions()).size === 1);
  return true;
}
async function revisionOf(admin: Asking): Promise<number> {
  const { records } = await admin.call<{ records: { revision: number; staleSince: string | null } }>('server.info');
  return records.staleSince === null ? records.revision : -1;
}
