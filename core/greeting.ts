import type { ChannelDefinition } from './calls/channels.ts';
import type { Endpoint } from './ports/transport.ts';

interface About {
  readonly name: string;
  readonly data: string;
  readonly channels: readonly ChannelDefinition[];
}

/** Of the channels of the config, how many addresses are told one by one. */
const SHOWN = 20;

/** What a process says when it is ready: where its channels are, where it keeps what it keeps, and a call to try. */
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

/** Those of plugins, which name their channels `<own name>/<...>`, and records: a line each. */
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

/** 'GET http://...' in two; other transports have other addresses. */
function split(address: string): [string, string] {
  const [, method = '', url = address] = /^([A-Z]+) (.+)$/.exec(address) ?? [];
  return [method, url];
}

/** What all begin with, up to a slash. */
function beginningOf([first = '', ...others]: readonly string[]): string {
  let end = first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, end))) end--;
  return first.slice(0, first.lastIndexOf('/', end) + 1);
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1].map((i) => Math.max(0, ...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd());
}
