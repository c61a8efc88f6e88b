/** What connections have beside other records. */
import type { Verb } from './command.ts';
import { table } from './table.ts';

interface Ping {
  readonly ok: boolean;
  readonly ms: number;
  readonly problem?: { readonly message: string; readonly hint?: string };
}
interface State {
  readonly name: string;
  readonly transport: string;
  readonly up: boolean;
}

const COLUMNS = [
  { title: 'NAME', of: (one: State) => one.name },
  { title: 'TRANSPORT', of: (one: State) => one.transport },
  { title: 'UP', of: (one: State) => one.up },
];

export const connectionVerbs: readonly Verb[] = [
  {
    name: 'ping',
    does: 'asks the system behind one whether it is there; exits with 1 where it is not',
    words: 'NAME',
    async run({ client, screen, words: [name] }) {
      const answer = await client.call<Ping>('connection.ping', { name }, { reads: true });
      await screen.show(answer, ({ ok, ms, problem }) => {
        if (ok) return `'${name}' answers (${ms.toFixed(1)} ms).\n`;
        const why = [problem?.message ?? 'no reason is known', problem?.hint ?? ''].filter((one) => one !== '');
        return `'${name}' does not answer: ${why.map((one) => one.replace(/\.$/, '')).join('. ')}.\n`;
      });
      return answer.value.ok ? 0 : 1;
    },
  },
  {
    name: 'states',
    does: 'which connections of this server are up',
    async run({ client, screen }) {
      const answer = await client.call<{ items: readonly State[] }>('connection.states', {}, { reads: true });
      await screen.show(
        answer,
        ({ items }) => (items.length === 0 ? 'There is no connection.\n' : table(COLUMNS, items, screen.width)),
        ({ items }) => items.map(({ name }) => `${name}\n`).join(''),
      );
    },
  },
];
