import type { BalancedServer, BalancerState } from '../../core/ports/index.ts';

/** What differs between two states, one line each: why the balancer is changed. Secrets are not in it. */
export function reasonsOf(before: BalancerState | null, after: BalancerState): readonly string[] {
  if (before === null) return [`start with ${after.servers.length} servers`];
  const had = new Map(before.servers.map((one) => [one.name, one]));
  const has = new Set(after.servers.map(({ name }) => name));
  return [
    ...after.servers.flatMap((one) => changesOf(had.get(one.name), one).map((text) => `${one.name} ${text}`)),
    ...before.servers.filter(({ name }) => !has.has(name)).map(({ name }) => `${name} is gone`),
    ...fieldsThatDiffer(before.settings, after.settings).map((field) => `setting ${field} changed`),
  ];
}

function changesOf(was: BalancedServer | undefined, is: BalancedServer): readonly string[] {
  if (was === undefined) return [`is new, at ${addressOf(is)}, ${is.state}`];
  return [
    ...(addressOf(was) === addressOf(is) ? [] : [`moved from ${addressOf(was)} to ${addressOf(is)}`]),
    ...(was.state === is.state ? [] : [`was ${was.state} and is ${is.state}`]),
    ...(was.weight === is.weight ? [] : [`weighed ${was.weight} and weighs ${is.weight}`]),
  ];
}

function addressOf({ host, port, tls = false }: BalancedServer): string {
  return `${tls ? 'https://' : ''}${host}:${port}`;
}

function fieldsThatDiffer(before: object, after: object): readonly string[] {
  const [one, other] = [before, after] as Record<string, unknown>[];
  const fields = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...fields].filter((field) => JSON.stringify(one?.[field]) !== JSON.stringify(other?.[field]));
}
