/** What modules have beside other records. */
import path from 'node:path';
import type { Verb } from './command.ts';
import { readText } from './content.ts';
import { localTime } from './display.ts';
import { usage } from './failure.ts';
import { PAGING, type Page, readPages, restOf } from './pages.ts';
import type { Answer, Screen } from './screen.ts';
import { type Column, table } from './table.ts';

interface Deployed {
  readonly name: string;
  readonly version: number;
  readonly changed: boolean;
  readonly services: readonly string[];
  readonly live: boolean;
  readonly problem?: string;
  readonly late: readonly { readonly name: string; readonly problem?: string }[];
  readonly unasked?: string;
}
interface Version {
  readonly version: number;
  readonly changedAt: string;
  readonly changedBy: string;
  readonly bytes: number;
  readonly services: readonly string[];
}
interface Status {
  readonly modules: readonly Module[];
  readonly unasked?: string;
}
interface Module {
  readonly name: string;
  readonly version: number;
  readonly services: readonly string[];
  readonly active: boolean;
  readonly servers: readonly { readonly name: string; readonly state: string; readonly problem?: string }[];
}

const VERSIONS: readonly Column<Version>[] = [
  { title: 'VERSION', of: ({ version }) => version },
  { title: 'TIME', of: ({ changedAt }) => localTime(changedAt) },
  { title: 'BY', of: ({ changedBy }) => changedBy },
  { title: 'BYTES', of: ({ bytes }) => bytes },
  { title: 'SERVICES', of: ({ services }) => services },
];
const MODULES: readonly Column<Module>[] = [
  { title: 'NAME', of: ({ name }) => name },
  { title: 'VERSION', of: ({ version }) => version },
  { title: 'ACTIVE', of: ({ active }) => active },
  { title: 'SERVICES', of: ({ services }) => services },
  { title: 'SERVERS', of: ({ servers }) => servers.map(({ name, state }) => `${name} ${state}`) },
];

export const moduleVerbs: readonly Verb[] = [
  {
    name: 'upload',
    does: 'deploys a .ts or .js file on every server, once it is checked; exits with 1 where one does not run it',
    words: 'FILE',
    options: [{ name: 'allow-type-errors', does: 'wrong types do not refuse it' }],
    async run({ client, options, screen, terminal, words: [file = ''] }) {
      if (file === '-') throw usage('A module is named after its file: - is none');
      const { text: source } = await readText(file, terminal);
      const input = {
        file: path.basename(file),
        source,
        ...(options.has('allow-type-errors') ? { allowTypeErrors: true } : {}),
      };
      return deployed(screen, await client.call<Deployed>('module.upload', input));
    },
  },
  {
    name: 'history',
    does: 'its versions, the newest first',
    words: 'NAME',
    options: PAGING,
    async run({ client, options, screen, words: [name] }) {
      const answer = await readPages<Page<Version>>(client, 'module.history', { name }, options);
      await screen.show(
        answer,
        ({ items }) => (items.length === 0 ? 'It has no versions.\n' : table(VERSIONS, items, screen.width)),
        ({ items }) => items.map(({ version }) => `${version}\n`).join(''),
      );
      const rest = restOf(answer.value);
      if (rest !== null) await screen.note(rest);
    },
  },
  {
    name: 'rollback',
    does: 'deploys an earlier version again; exits with 1 where a server does not run it',
    words: 'NAME VERSION',
    async run({ client, screen, words: [name, text = ''] }) {
      if (!/^[1-9]\d*$/.test(text)) throw usage(`The version must be a whole number, not '${text}'`);
      return deployed(screen, await client.call<Deployed>('module.rollback', { name, version: Number(text) }));
    },
  },
  {
    name: 'status',
    does: 'which servers run which; exits with 1 where one does not',
    words: '[NAME]',
    async run({ client, screen, words: [name] }) {
      const input = name === undefined ? {} : { name };
      const answer = await client.call<Status>('module.status', input, { reads: true });
      const failing = answer.value.modules.flatMap(({ name: own, servers }) =>
        servers.filter(({ state }) => state !== 'live' && state !== 'off').map((one) => ({ ...one, module: own })),
      );
      await screen.show(answer, ({ modules }) => {
        const rows = modules.length === 0 ? 'There is no module.\n' : table(MODULES, modules, screen.width);
        const why = failing.map(
          (one) =>
            `${one.module} is ${one.state} on ${one.name}${one.problem === undefined ? '' : `: ${one.problem}`}\n`,
        );
        return `${rows}${why.join('')}`;
      });
      const { unasked } = answer.value;
      if (unasked !== undefined) await screen.warn(`the other servers could not be asked: ${unasked}`);
      return failing.length === 0 && unasked === undefined ? 0 : 1;
    },
  },
];

async function deployed(screen: Screen, answer: Answer<Deployed>): Promise<number> {
  const { live, late, problem, unasked } = answer.value;
  await screen.show(answer, ({ name, version, services, changed }) => {
    const done = changed ? 'is deployed' : 'was deployed already';
    return `The module '${name}' ${done} (version ${version}): ${services.join(', ') || 'no services'}.\n`;
  });
  if (!live && problem !== undefined) await screen.warn(`it is not in effect on this server: ${problem}`);
  for (const one of late)
    await screen.warn(`it does not run on ${one.name} yet${one.problem === undefined ? '' : `: ${one.problem}`}`);
  if (unasked !== undefined) await screen.warn(`whether the other servers run it is not known: ${unasked}`);
  return live && late.length === 0 && unasked === undefined ? 0 : 1;
}
