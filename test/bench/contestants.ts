import { Child, freePort, SERVER_CPU, untilAnswers } from './child.ts';
import { type Server, startGantry } from './gantry.ts';
import { compileScript } from './scripts.ts';
import { BODY, KEY, KEY_HEADER, paths, ROUTES } from './work.ts';

/** The servers that are compared, the floor first. */
export const CONTESTANTS = {
  'node-http': { title: 'node:http by hand', start: () => startPeer('node-http') },
  fastify: { title: 'Fastify 5', start: () => startPeer('fastify') },
  koa: { title: 'Koa 3 + find-my-way', start: () => startPeer('koa') },
  gantry: { title: 'Gantry', start: () => startGantry({ name: 'gantry', paths: paths(ROUTES) }) },
  'gantry-middleware': {
    title: 'Gantry, a Koa middleware',
    start: () => startGantry({ name: 'gantry-middleware', paths: paths(ROUTES), middleware: true }),
  },
} as const;
export type Contestant = keyof typeof CONTESTANTS;

export function isContestant(name: string): name is Contestant {
  return Object.hasOwn(CONTESTANTS, name);
}

async function startPeer(name: string): Promise<Server> {
  const port = await freePort();
  const script = await compileScript(`servers/${name}`);
  const child = new Child(name, [process.execPath, script, String(port)], { cpu: SERVER_CPU });
  const all = paths(ROUTES);
  const headers = { [KEY_HEADER]: KEY, 'content-type': 'application/json' };
  await untilAnswers(child, { port, path: all[0] as string, method: 'POST', headers, body: BODY });
  return { name, port, child, paths: all };
}
