/** What runs jobs and durable calls. */
import type { Noun } from './command.ts';
import { duration, localTime } from './display.ts';

interface Status {
  readonly server: string;
  readonly holder: { readonly server: string; readonly epoch: number } | null;
  readonly isHolder: boolean;
  readonly standsBack: string | null;
  readonly heldAt: string | null;
  readonly paused: boolean;
  readonly planned: number | null;
  readonly overdue: readonly { readonly job: string; readonly dueAt: string; readonly lateMs: number }[];
  readonly inHand: readonly { readonly token: string; readonly job: string | null; readonly service: string }[];
  readonly waiting: number | null;
  readonly dead: number | null;
  readonly aheadMs: number | null;
  readonly counters: Readonly<Record<string, number>>;
  readonly problem?: string;
}

export const scheduler: Noun = {
  name: 'scheduler',
  does: 'What runs jobs and durable calls',
  verbs: [
    {
      name: 'status',
      does: 'which server has it, and how it does; exits with 1 where a job should have run and did not, or it has a problem',
      async run({ client, screen }) {
        const answer = await client.call<Status>('scheduler.status', {}, { reads: true });
        await screen.show(answer, textOf, ({ holder }) => (holder === null ? '' : `${holder.server}\n`));
        const { problem, overdue } = answer.value;
        return problem === undefined && overdue.length === 0 ? 0 : 1;
      },
    },
  ],
};

function textOf(status: Status): string {
  const { server, paused, planned, waiting, dead, inHand, counters, problem } = status;
  const known = (count: number | null) => (count === null ? 'not known' : String(count));
  const counted = Object.entries(counters).map(([name, count]) => `${titles[name] ?? name} ${count}`);
  const lines: [string, string][] = [
    ['holder', holderOf(status)],
    ['asked', askedOf(status)],
    ['jobs', `${planned === null ? 'planned by the holder' : `${planned} planned`}${paused ? ', all paused' : ''}`],
    ['runs', `waiting ${known(waiting)}, dead ${known(dead)}, in hand on ${server} ${inHand.length}`],
    ['since start', counted.join(', ')],
    ...status.overdue.map((one): [string, string] => ['overdue', `${one.job}, ${dueOf(one)}`]),
    ...(problem === undefined ? [] : [['problem', problem] as [string, string]]),
  ];
  return lines.map(([key, value]) => `${key.padEnd(11)}  ${value}\n`).join('');
}

const titles: Readonly<Record<string, string>> = { timedOut: 'timed out', takenOver: 'taken over' };

function holderOf({ holder, heldAt }: Status): string {
  const seen = heldAt === null ? '' : `, seen at ${localTime(heldAt)}`;
  return holder === null ? `nobody that is known${seen}` : `${holder.server}, epoch ${holder.epoch}${seen}`;
}

function askedOf({ server, isHolder, standsBack, aheadMs }: Status): string {
  const role = isHolder ? ', which is the holder' : standsBack === null ? '' : `, which stands back: ${standsBack}`;
  // Less is what asking takes.
  const clock = aheadMs === null || Math.abs(aheadMs) < 1000 ? '' : `; its clock is ${clockOf(aheadMs)} the database's`;
  return `${server}${role}${clock}`;
}

function clockOf(aheadMs: number): string {
  return `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
}

function dueOf({ dueAt, lateMs }: Status['overdue'][number]): string {
  return `due at ${localTime(dueAt)}, ${duration(lateMs)} ago`;
}
