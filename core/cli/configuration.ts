/** The whole configuration as files. */
import { renameSync, writeFileSync } from 'node:fs';
import { didYouMean, GantryError, type Problem } from '../errors.ts';
import type { Applied, Portable } from '../records/record.ts';
import { type AdminClient, LONG_MS } from './client.ts';
import type { Command, Noun, Option } from './command.ts';
import { usage } from './failure.ts';
import { knownKinds } from './kinds.ts';
import { place, readPortable, writePortable } from './portable.ts';

const LONG = { timeoutMs: LONG_MS };

const FILES: Option = {
  name: 'file',
  short: 'f',
  value: 'FILE',
  many: true,
  does: 'YAML or JSON, or a folder of *.yaml; - is stdin',
};
const PRUNE: Option = {
  name: 'prune',
  value: 'KINDS',
  many: true,
  does: 'also removes what is not in the files, of these kinds',
};

interface Outcome {
  readonly changes: readonly Applied[];
  readonly created: number;
  readonly updated: number;
  readonly removed: number;
  readonly unchanged: number;
}

const exporting: Noun = {
  name: 'export',
  does: 'every record as YAML, the same bytes for the same records; secrets are sealed',
  verbs: [
    {
      name: '',
      does: '',
      options: [
        { name: 'kinds', value: 'KINDS', many: true, does: 'only these, between commas' },
        { name: 'out', value: 'FILE', does: 'writes a file that nobody else can read' },
      ],
      async run({ client, options, screen }) {
        const kinds = await chosenKinds(options.list('kinds'), 'kinds', client);
        const input = kinds.length === 0 ? {} : { kinds };
        const answer = await client.call<{ records: readonly Portable[] }>('configuration.export', input, {
          ...LONG,
          reads: true,
        });
        const text = screen.json ? `${answer.text}\n` : writePortable(answer.value.records);
        const out = options.text('out');
        if (out === undefined) return screen.data(text);
        writeWhole(out, text);
        await screen.note(`Written to ${out}, records: ${answer.value.records.length}.`);
      },
    },
  ],
};

const applying: Noun = {
  name: 'apply',
  does: 'creates and updates what differs from files, all or nothing; a second time changes nothing',
  verbs: [
    {
      name: '',
      does: '',
      words: '[FILE...]',
      options: [FILES, PRUNE, { name: 'dry-run', does: 'only tells what would be done' }],
      async run(command) {
        await apply(command, command.options.has('dry-run'));
      },
    },
  ],
};

const differing: Noun = {
  name: 'diff',
  does: 'what apply would do; exits with 1 where that is something',
  verbs: [
    {
      name: '',
      does: '',
      words: '[FILE...]',
      options: [FILES, PRUNE],
      async run(command) {
        const { created, updated, removed } = await apply(command, true);
        return created + updated + removed === 0 ? 0 : 1;
      },
    },
  ],
};

const resealing: Noun = {
  name: 'reseal',
  does: 'seals every secret with the current key, so that older keys can be taken away',
  verbs: [
    {
      name: '',
      does: '',
      async run({ client, screen }) {
        const answer = await client.call<{ changed: number }>('configuration.reseal', {}, LONG);
        await screen.show(answer, ({ changed }) => `Records that had a secret under an older key: ${changed}.\n`);
      },
    },
  ],
};

export const CONFIGURATION: readonly Noun[] = [exporting, applying, differing, resealing];

async function apply({ client, options, screen, terminal, words }: Command, dryRun: boolean): Promise<Outcome> {
  const files = [...options.all('file'), ...words];
  if (files.length === 0) throw usage('Which file?', 'Name it with --file FILE; - is stdin.');
  const prune = await chosenKinds(options.list('prune'), 'prune', client);
  const records = await readPortable(files, terminal, (kinds) => knownKinds(kinds, client));
  const input = { records: records.map(({ kind, definition }) => ({ kind, definition })), dryRun, prune };
  try {
    const answer = await client.call<Outcome>('configuration.apply', input, { ...LONG, reads: dryRun });
    await screen.show(answer, (outcome) => told(outcome, dryRun));
    return answer.value;
  } catch (thrown) {
    throw thrown instanceof GantryError && thrown.problems !== undefined ? placed(thrown, thrown.problems) : thrown;
    function placed(error: GantryError, problems: readonly Problem[]): GantryError {
      const { code, kind, message, answer, hint } = error;
      const where = problems.map((problem) => place(problem, records));
      return new GantryError(code, message, { kind, answer, problems: where, ...(hint === undefined ? {} : { hint }) });
    }
  }
}

const DONE = { create: 'created', update: 'updated', remove: 'removed', unchanged: 'unchanged' } as const;

function told({ changes, created, updated, removed, unchanged }: Outcome, dryRun: boolean): string {
  const lines = changes
    .filter(({ action }) => action !== 'unchanged')
    .map(({ kind, name, action }) => `${DONE[action].padEnd(7)}  ${kind} '${name}'\n`);
  const counts = `${created} created, ${updated} updated, ${removed} removed, ${unchanged} unchanged.`;
  return `${lines.join('')}${counts}${dryRun ? ' This was a trial: nothing was changed.' : ''}\n`;
}

/** Throws USAGE for a name that is no kind, neither of the core nor of the server. */
async function chosenKinds(given: readonly string[], option: string, client: AdminClient): Promise<readonly string[]> {
  const all = await knownKinds(given, client);
  for (const kind of given) {
    if (all.has(kind)) continue;
    const known = [...all];
    throw usage(
      `--${option}: there is no kind '${kind}'`,
      `${didYouMean(kind, known)} They are ${known.join(', ')}.`.trim(),
    );
  }
  return [...new Set(given)];
}

/** All of it or nothing: what was there stays until the new one is whole. */
function writeWhole(file: string, text: string): void {
  const beside = `${file}.${process.pid}.part`;
  try {
    writeFileSync(beside, text, { mode: 0o600, flush: true });
    renameSync(beside, file);
  } catch (thrown) {
    throw usage(`The file ${file} cannot be written (${(thrown as NodeJS.ErrnoException).code})`);
  }
}
