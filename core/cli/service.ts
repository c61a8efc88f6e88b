/** What is deployed on the server, and trying it. */
import { readFileSync } from 'node:fs';
import type { Noun } from './command.ts';
import { usage } from './failure.ts';
import { PAGING, type Page, readPages, restOf } from './pages.ts';
import { table } from './table.ts';
import { readAll, type Terminal } from './terminal.ts';
import { writeYaml } from './yaml.ts';

interface About {
  readonly name: string;
  readonly description?: string;
}

const COLUMNS = [
  { title: 'NAME', of: (one: About) => one.name },
  { title: 'DESCRIPTION', of: (one: About) => one.description },
];

export const service: Noun = {
  name: 'service',
  does: 'What is deployed on the server',
  verbs: [
    {
      name: 'list',
      does: 'those that there are',
      options: [{ name: 'search', value: 'TEXT', does: 'a part of the name' }, ...PAGING],
      async run({ client, options, screen }) {
        const query = options.has('search') ? { search: options.text('search') } : {};
        const answer = await readPages<Page<About>>(client, 'service.list', query, options);
        await screen.show(
          answer,
          ({ items }) => (items.length === 0 ? 'There is no service.\n' : table(COLUMNS, items, screen.width)),
          ({ items }) => items.map(({ name }) => `${name}\n`).join(''),
        );
        const rest = restOf(answer.value);
        if (rest !== null) await screen.note(rest);
      },
    },
    {
      name: 'get',
      does: 'one of them with its schemas',
      words: 'NAME',
      async run({ client, screen, words: [name] }) {
        const answer = await client.call('service.get', { name }, { reads: true });
        await screen.data(screen.json ? `${answer.text}\n` : writeYaml(answer.value));
      },
    },
    {
      name: 'invoke',
      does: 'runs one, as the user who asks, and prints its output as JSON',
      words: 'NAME',
      options: [
        { name: 'input', value: 'JSON', does: 'its input, or @FILE, or - for stdin; default: {}' },
        { name: 'verb', value: 'VERB', does: 'for a service with a handler for each verb' },
      ],
      async run({ client, options, screen, terminal, words: [name] }) {
        const given = options.text('input');
        const verb = options.text('verb');
        const { timeoutMs } = client;
        const input = {
          name,
          input: given === undefined ? {} : await inputOf(given, terminal),
          ...(verb === undefined ? {} : { verb }),
          ...(timeoutMs === null ? {} : { timeoutMs: Math.min(timeoutMs, 3_600_000) }),
        };
        const answer = await client.call<{ output?: unknown; ms: number }>('service.invoke', input);
        if (screen.json) return screen.data(`${answer.text}\n`);
        const { output, ms } = answer.value;
        if (output !== undefined) await screen.data(`${JSON.stringify(output, null, 2)}\n`);
        await screen.note(`${ms.toFixed(1)} ms`);
      },
    },
  ],
};

async function inputOf(given: string, { stdin }: Terminal): Promise<unknown> {
  const text = given === '-' ? await readAll(stdin) : given.startsWith('@') ? fileText(given.slice(1)) : given;
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw usage(`--input is no JSON: ${(thrown as Error).message}`, `E.g. --input '{"name":"Ada"}', or --input @FILE.`);
  }
}

function fileText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw usage(`The file ${file} cannot be read (${(thrown as NodeJS.ErrnoException).code})`);
  }
}
