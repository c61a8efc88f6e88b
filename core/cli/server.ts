/** The server that answers: what it is, and how it does. */
import type { RecordsStatus } from '../records/record.ts';
import type { Noun } from './command.ts';
import { duration, localTime } from './display.ts';
import { table } from './table.ts';

interface Info {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly pid: number;
  readonly node: string;
  readonly memory: { readonly residentBytes: number; readonly heapUsedBytes: number };
  readonly services: number;
  readonly connections: number;
  readonly records: RecordsStatus | null;
}
interface Check {
  readonly name: string;
  readonly healthy: boolean;
  readonly problem?: string;
}

const CHECKS = [
  { title: 'CHECK', of: (one: Check) => one.name },
  { title: 'HEALTHY', of: (one: Check) => one.healthy },
  { title: 'PROBLEM', of: (one: Check) => one.problem },
];

export const info: Noun = {
  name: 'info',
  does: 'what the server is and runs with',
  verbs: [
    {
      name: '',
      does: '',
      async run({ client, screen }) {
        const answer = await client.call<Info>('server.info', {}, { reads: true });
        await screen.show(answer, infoText, ({ name }) => `${name}\n`);
      },
    },
  ],
};

export const health: Noun = {
  name: 'health',
  does: 'whether the server has all that it works with; exits with 1 where it has not',
  verbs: [
    {
      name: '',
      does: '',
      async run({ client, screen }) {
        const answer = await client.call<{ healthy: boolean; checks: readonly Check[] }>(
          'server.health',
          {},
          { reads: true },
        );
        await screen.show(answer, ({ checks }) => table(CHECKS, checks, screen.width));
        return answer.value.healthy ? 0 : 1;
      },
    },
  ],
};

function infoText({ memory, records, ...server }: Info): string {
  const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const lines: [string, string][] = [
    ['server', `${server.name}, ${server.state}`],
    ['release', `${server.version} on Node ${server.node.replace(/^v/, '')}, process ${server.pid}`],
    ['started', `${localTime(server.startedAt)}, ${duration(server.uptimeMs)} ago`],
    ['memory', `${mebibytes(memory.residentBytes)}, of which heap in use ${mebibytes(memory.heapUsedBytes)}`],
    ['runs', `services ${server.services}, connections ${server.connections}`],
    ...(records === null ? [['records', 'none are kept'] as [string, string]] : recordLines(records)),
  ];
  return lines.map(([key, value]) => `${key.padEnd(8)}  ${value}\n`).join('');
}

function recordLines({ revision, source, staleSince, problem, refused, counts }: RecordsStatus): [string, string][] {
  const kinds = Object.entries(counts).filter(([, count]) => count > 0);
  return [
    [
      'records',
      `${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none'}; revision ${revision} of the ${source}`,
    ],
    ...(staleSince === null ? [] : [['stale', `since ${localTime(staleSince)}`] as [string, string]]),
    ...(problem === null ? [] : [['problem', problem] as [string, string]]),
    ...refused.map((one): [string, string] => ['refused', `${one.kind} '${one.name}': ${one.problem}`]),
  ];
}
