import { Cluster } from 'ioredis';
import type { Client } from '../_redis/connection.ts';
import type { Link } from '../_redis/link.ts';

/** Its name, as ioredis has it, and its arguments. */
export type Command = readonly [name: string, ...args: readonly (string | number)[]];
export type Outcome = { readonly error: Error } | { readonly error: null; readonly value: unknown };

type Method = (...args: readonly (string | number)[]) => Promise<unknown>;

/** One round trip. */
const TOGETHER = 200;

/**
 * Sends commands without waiting for the answers in between, 200 in one round trip, and gives what became of each, in
 * their order. Rejects where nothing can be sent, or Redis does not answer: then nobody knows what was done.
 */
export async function sendAll(link: Link, commands: readonly Command[]): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const some of chunks(commands, TOGETHER)) {
    outcomes.push(
      ...(await link.run((client) => (client instanceof Cluster ? spread(client, some) : pipe(client, some)))),
    );
  }
  return outcomes;
}

/** The same, where one that failed makes all worthless. Gives the values. */
export async function askAll(link: Link, commands: readonly Command[]): Promise<readonly unknown[]> {
  const outcomes = await sendAll(link, commands);
  return outcomes.map((outcome) => {
    if (outcome.error !== null) throw outcome.error;
    return outcome.value;
  });
}

/** A node for each key: each command finds its own. */
async function spread(client: Cluster, commands: readonly Command[]): Promise<Outcome[]> {
  const methods = client as unknown as Readonly<Record<string, Method>>;
  const sent = commands.map(([name, ...args]) => (methods[name] as Method).apply(client, args));
  return (await Promise.allSettled(sent)).map((one) =>
    one.status === 'fulfilled' ? { error: null, value: one.value } : { error: one.reason as Error },
  );
}

async function pipe(client: Exclude<Client, Cluster>, commands: readonly Command[]): Promise<Outcome[]> {
  const replies = (await client.pipeline(commands.map((one) => [...one])).exec()) ?? [];
  return replies.map(([error, value]) => (error === null ? { error, value } : { error }));
}

function* chunks<T>(all: readonly T[], size: number): Iterable<readonly T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size);
}
