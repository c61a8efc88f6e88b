import type { ChannelDefinition } from './calls/channels.ts';
import type { Endpoint } from './ports/transport.ts';

interface About {
  readonly name: string;
  readonly data: string;
  readonly channels: readonly ChannelDefinition[];
}

/** How many addresses of the config's channels are listed one by one. */
const SHOWN = 20;

/**
 * The text that a process prints when it is ready: the addresses of its channels, its data folder, and a call to try.
 */
export function greeting(version: string, about: About, endpoints: readonly Endpoint[]): string {
  const { name, data, channels } = about;
  const services = new Map(channels.map((one) => [one.name, one.service]));
  const own = endpoints.filter(({ channel }) => services.has(channel));
  const rows = own.slice(0, SHOWN).map((one) => [...split(one.address), services.get(one.channel) ?? '']);
  if (own.length > SHOWN) rows.push(['', `... and ${own.length - SHOWN} more`]);
  rows.push(...groups(endpoints.filter(({ channel }) => !services.has(channel))));
  const example = endpoints.find((one) => one.example !== undefined)?.example;
  const lines = [
    `Gantry ${version}, server '${name}', is ready. Its data is in ${data}`,
    ...(rows.length === 0 ? [] : ['', ...aligned(rows)]),
    ...(example === undefined ? [] : ['', 'Try it:', `  ${example}`]),
  ];
  return `\n${lines.join('\n')}\n\n`;
}

/** One line for the channels of each plugin (named `<plugin>/<...>`), and one for the channels that are records. */
function groups(endpoints: readonly Endpoint[]): string[][] {
  const urls = new Map<string, string[]>();
  for (const { channel, address } of endpoints) {
    const owner = channel.includes('/')
      ? `of ${channel.slice(0, channel.indexOf('/'))}`
      : 'of channels that are records';
    urls.set(owner, [...(urls.get(owner) ?? []), split(address)[1]]);
  }
  return [...urls].map(([owner, list]) => ['', `${beginningOf(list)}...`, `${list.length} ${owner}`]);
}

/** Splits 'GET http://...' into method and URL. An address of another form has no method. */
function split(address: string): [string, string] {
  const [, method = '', url = address] = /^([A-Z]+) (.+)$/.exec(address) ?? [];
  return [method, url];
}

/** The common prefix, up to a slash. */
function beginningOf([first = '', ...others]: readonly string[]): string {
  let end = first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, end))) end--;
  return first.slice(0, first.lastIndexOf('/', end) + 1);
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1].map((i) => Math.max(0, ...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd());
}
