import { applying, channelRecords, startConfigured } from './admin-server.ts';
import { freePort } from './child.ts';
import { writeConfig } from './gantry.ts';
import { paths } from './work.ts';

/** What can be started. */
export interface Prepared {
  readonly config: string;
  readonly port: number;
  /** Of the last of its channels. */
  readonly lastPath: string;
}

interface Wanted {
  readonly count: number;
  /** All channels with one security definition; else each with a key of its own. */
  readonly shared: boolean;
  /** A further folder of services. */
  readonly services: string;
}

/** Lets a server take its channels over by configuration.apply, and stops it again. */
export async function prepareRecords({ count, shared, services }: Wanted): Promise<Prepared> {
  const port = await freePort();
  const name = `start-records-${shared ? 'shared' : 'keyed'}`;
  const config = writeConfig({ name, paths: [], whole: true, services: [services] }, port);
  const all = paths(count);
  const server = await startConfigured({ name, config, port });
  await server.administrator.call(applying(channelRecords('record', all, { shared })));
  await server.stop();
  return { config, port, lastPath: all.at(-1) as string };
}
