/** Tells what TypeScript finds wrong in a service's source. It reads the source and never runs it. */
import { definePlugin, GantryError, type Problem, Type } from '../../core/api.ts';
import { Turns } from '../../core/parts.ts';
import type { CheckedSource } from '../../core/ports/index.ts';
import { FOREGROUND } from './background.ts';
import { OutputOfTsc } from './diagnostics.ts';
import { importsOutside } from './imports.ts';
import { findInstallation, type Installation } from './installation.ts';
import { makeProject, type Project, removeForgotten } from './project.ts';
import { runTsc } from './tsc.ts';

/** More sources than this may not wait for their turn. */
const MOST_WAITING = 200;

export default definePlugin({
  id: 'checker.typescript',
  api: 1,
  config: Type.Object(
    {
      timeoutMs: Type.Integer({
        default: 20_000,
        minimum: 100,
        maximum: 600_000,
        description: 'After it a check is given up. The time in the queue does not count',
      }),
      parallel: Type.Integer({
        default: 1,
        minimum: 1,
        maximum: 8,
        description: 'Checks at once, each about 80 MB and one core for half a second; the others wait',
      }),
      maxProblems: Type.Integer({ default: 50, minimum: 1, maximum: 1000, description: 'Of one source' }),
    },
    { additionalProperties: false },
  ),
  create({ config, log }) {
    const { timeoutMs, maxProblems } = config;
    const turns = new Turns(config.parallel, MOST_WAITING);
    const stopping = new AbortController();
    const running = new Set<Promise<unknown>>();
    let found: Installation | null = null;

    async function inTurn(source: CheckedSource): Promise<readonly Problem[]> {
      if (stopping.signal.aborted) throw failed(source, 'the server stops');
      if (found === null) throw failed(source, 'TypeScript is not there', 'Install the packages again: npm ci');
      const project = await makeProject(source, found);
      try {
        return await checked(source, project, found);
      } finally {
        await project.remove();
      }
    }

    async function checked(source: CheckedSource, project: Project, { exe, hasNodeTypes, background }: Installation) {
      const timeout = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([timeout, stopping.signal]);
      const run = async (pass: 'syntax' | 'types') => {
        const ran = await runTsc(exe, project.folders[pass], signal, pass === 'syntax' ? FOREGROUND : background).catch(
          (cause: unknown) => {
            throw failed(source, 'TypeScript could not be started', 'Install the packages again: npm ci', cause);
          },
        );
        if (stopping.signal.aborted) throw failed(source, 'the server stops');
        if (timeout.aborted) {
          throw failed(source, `it took longer than ${timeoutMs} ms`, 'Raise plugins.checker.typescript.timeoutMs.');
        }
        return new OutputOfTsc(ran, project, maxProblems);
      };
      // Names only: what a source imports from elsewhere must not be read for types, which messages would quote.
      const syntax = await run('syntax');
      const outside = importsOutside(source.source, syntax.imported).slice(0, maxProblems);
      if (outside.length > 0) return outside;
      if (syntax.problems.length > 0 || !project.hasTypes) return syntax.problems;
      if (!hasNodeTypes) throw failed(source, 'the types of Node are not there', 'npm install @types/node');
      const types = await run('types');
      if (types.failure === null) return types.problems;
      throw failed(source, 'TypeScript broke off', 'The cause is in the log.', new Error(types.failure));
    }

    return {
      languages: ['typescript', 'javascript'],
      check(source) {
        const turn = turns.take(() => inTurn(source));
        if (turn === null) return Promise.reject(failed(source, `${MOST_WAITING} others wait already`));
        running.add(turn);
        return turn.finally(() => running.delete(turn));
      },
      async start() {
        await removeForgotten();
        found = await findInstallation().catch((error: unknown) => {
          log.warn({ error }, 'sources cannot be checked: TypeScript is not there');
          return null;
        });
        if (found?.hasNodeTypes === false) {
          log.warn({ hint: 'npm install @types/node' }, 'types cannot be checked: those of Node are not there');
        }
      },
      async stop() {
        stopping.abort();
        await Promise.allSettled(running);
      },
    };
  },
});

function failed({ file }: CheckedSource, reason: string, hint?: string, cause?: unknown): GantryError {
  const more = { ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) };
  return new GantryError('CHECK_FAILED', `'${file}' could not be checked: ${reason}`, more);
}
