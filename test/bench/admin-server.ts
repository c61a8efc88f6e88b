import { type AdminCall, Administrator, BASIC } from './administrator.ts';
import { Child, freePort, SERVER_CPU, untilAnswers } from './child.ts';
import { channelOf, gantryCommand, PING, SECURITY, type Server, writeConfig } from './gantry.ts';

export interface AdminServer extends Server {
  readonly administrator: Administrator;
  /** To be sent as `authorization`. */
  readonly basic: string;
  readonly token: string;
  stop(): Promise<void>;
}

/** Starts the built product as it comes, with an empty database in a folder of its own. */
export async function startAdminServer(name: string): Promise<AdminServer> {
  const port = await freePort();
  const config = writeConfig({ name, paths: [], whole: true }, port);
  return startConfigured({ name, config, port });
}

interface Configured {
  readonly name: string;
  readonly config: string;
  readonly port: number;
}

/** The same, with a config that is there already, and the data of the last time. */
export async function startConfigured({ name, config, port }: Configured): Promise<AdminServer> {
  const child = new Child(name, gantryCommand(config), { cpu: SERVER_CPU });
  await untilAnswers(child, { port, path: PING });
  const administrator = new Administrator(port);
  const token = await administrator.logIn();
  const stop = async () => {
    await administrator.close();
    await child.stop();
  };
  return { name, port, child, paths: [], administrator, basic: BASIC, token, stop };
}

/** A security definition that channels share. */
export const CALLERS = 'callers';
const { guard, ...definition } = SECURITY;
export const callers = { name: CALLERS, guard, definition } as const;

export interface Portable {
  readonly kind: string;
  readonly definition: object;
}

/** Channels as records; each with a key of its own, or all with the same definition. */
export function channelRecords(names: string, paths: readonly string[], { shared }: { shared: boolean }): Portable[] {
  const channels = paths.map((path, i) => {
    const channel = channelOf(`${names}${i}`, path);
    return { kind: 'channel', definition: shared ? { ...channel, security: CALLERS } : channel };
  });
  return shared ? [{ kind: 'security', definition: callers }, ...channels] : channels;
}

export function applying(records: readonly Portable[], prune: readonly string[] = []): AdminCall {
  return { service: 'configuration.apply', input: { records, prune } };
}
