import { type ChannelDefinition, type Channels, namesOf } from '../calls/channels.ts';
import type { ConnectionDefinition, Connections } from '../calls/connections.ts';
import type { Securities, SecurityDefinition } from '../calls/securities.ts';
import { type Problem, refuse, toGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import { keyOf, stepsOf } from '../path.ts';
import type { Guard } from '../ports/guard.ts';
import type { Transport } from '../ports/transport.ts';
import type { Definition } from '../records/record.ts';
import { copy } from '../schema/copy.ts';
import { plain, settle } from '../schema/settle.ts';
import type { Config } from './root.ts';

/** What a config file defines itself. */
export type FixtureLists = Partial<Pick<Config, 'channels' | 'connections' | 'security'>>;

interface Parts {
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly guards: ReadonlyMap<string, Guard>;
  /** Whether there are records, too, which are not known before the start. */
  readonly hasRecords: boolean;
  readonly log: Logger;
}

interface Settled {
  readonly channels: readonly ChannelDefinition[];
  readonly connections: readonly ConnectionDefinition[];
  readonly security: readonly SecurityDefinition[];
}

/** The definitions of the config file: put into effect at start, and the same until the process ends. */
export class Fixtures {
  readonly #parts: Parts;
  #kinds: Readonly<Record<string, readonly Definition[]>> = {};
  #names: ReadonlySet<string> = new Set();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Those of a kind of record. */
  of(kind: string): readonly Definition[] {
    return this.#kinds[kind] ?? [];
  }

  has(kind: string, name: string): boolean {
    return this.#names.has(`${kind}/${name}`);
  }

  /** Binds nothing and opens nothing; lists what is wrong. */
  check(lists: FixtureLists): Problem[] {
    return this.#check(this.#settled(lists));
  }

  /**
   * Puts security definitions into effect and binds the channels. Throws CONFIG_INVALID with all that cannot be bound.
   * Where a service file was `refused`, its service may be what a channel names: that channel answers 'unavailable'. What
   * was `found` before is reported with the rest, and then nothing is bound.
   */
  bind(lists: FixtureLists, refused: boolean, found: readonly Problem[] = []): void {
    const settled = this.#settled(lists);
    const { channels, connections, security } = settled;
    this.#kinds = { channel: channels, connection: connections, security };
    const names = Object.entries(this.#kinds).flatMap(([kind, list]) => list.map(({ name }) => `${kind}/${name}`));
    this.#names = new Set(names);
    const problems = this.#check(settled);
    const places = new Set(channels.map((c, i) => `${placeOf('channels', c, i)}.service`));
    const missing = problems.filter((p) => places.has(p.path));
    const isLenient = refused && found.length === 0;
    refuse([...found, ...(isLenient ? problems.filter((p) => !missing.includes(p)) : problems)]);
    for (const { path, message } of missing) {
      this.#parts.log.warn({ path }, `a channel ${message}; it answers 'unavailable'`);
    }
    refuse([
      ...security.flatMap((s, i) => attempt(placeOf('security', s, i), () => this.#parts.securities.defineChecked(s))),
      ...channels.flatMap((c, i) =>
        c.active === false ? [] : attempt(placeOf('channels', c, i), () => this.#parts.channels.bindChecked(c)),
      ),
    ]);
  }

  /** To be asked when the records are in effect: nobody may know what a channel of the file is secured by. */
  tellVacant(): void {
    const { securities, log } = this.#parts;
    for (const { name, security, active } of this.of('channel') as unknown as readonly ChannelDefinition[]) {
      const vacant = active === false ? [] : namesOf(security).filter((one) => !securities.has(one));
      if (vacant.length === 0) continue;
      log.warn(
        { channel: name, security: vacant },
        'a channel of the config file names a security definition that is not there: it lets nobody in by it until it is',
      );
    }
  }

  /** Opens the connections that bind() was given. */
  async open(): Promise<void> {
    const connections = this.of('connection') as unknown as readonly ConnectionDefinition[];
    const active = connections.filter((c) => c.active !== false);
    await Promise.all(active.map((c) => this.#parts.connections.open(c)));
  }

  #check({ channels, connections, security }: Settled): Problem[] {
    const { channels: bound, connections: open, securities } = this.#parts;
    const named = new Set(security.map(({ name }) => name));
    return [
      ...security.flatMap((s, i) => securities.check(s, placeOf('security', s, i))),
      // A channel may name a definition of this file, which is not in effect yet, or a record, which nobody knows yet.
      ...channels.flatMap((c, i) => {
        const at = placeOf('channels', c, i);
        const later = namesOf(c.security).filter((name) => this.#parts.hasRecords || named.has(name));
        const problems = bound.check(c, at);
        return problems.filter((p) => p.path !== `${at}.security` || !later.includes(p.got ?? ''));
      }),
      ...connections.flatMap((c, i) => open.check(c, placeOf('connections', c, i))),
      ...twice('security', security),
      ...twice('channels', channels),
      ...twice('connections', connections),
    ];
  }

  #settled({ channels = [], connections = [], security = [] }: FixtureLists): Settled {
    return {
      // The check fills in defaults, and the config stays what it is.
      channels: channels.map((c) => copy(this.#channel(c))),
      connections: connections.map((c) => this.#connection(c)),
      security: security.map((s) => copy(this.#security(s))),
    };
  }

  /** What references wrote takes the types of the transport's and the guard's own schemas. */
  #channel(definition: ChannelDefinition): ChannelDefinition {
    const { address, settings, security, ...rest } = definition;
    const transport = this.#parts.transports.get(definition.transport);
    const guard = this.#parts.guards.get((security as { guard?: string } | undefined)?.guard ?? '');
    return {
      ...rest,
      address: settled(transport?.address, address),
      ...(settings === undefined ? {} : { settings: settled(transport?.settings, settings) }),
      ...(security === undefined ? {} : { security: settled(guard?.definition, security) }),
    } as ChannelDefinition;
  }
  #connection(definition: ConnectionDefinition): ConnectionDefinition {
    const transport = this.#parts.transports.get(definition.transport);
    return {
      ...definition,
      options: settled(transport?.options, definition.options) as ConnectionDefinition['options'],
    };
  }
  #security(one: SecurityDefinition): SecurityDefinition {
    const guard = this.#parts.guards.get(one.guard);
    return { ...one, definition: settled(guard?.definition, one.definition) as SecurityDefinition['definition'] };
  }
}

function settled(schema: object | undefined, value: unknown): unknown {
  return plain(settle(schema ?? {}, value));
}

/** Where a definition stands in the config, for messages. */
function placeOf(list: string, { name }: { name: string }, index: number): string {
  return `${list}[${index}] (${name})`;
}

/** How the core names a definition whose place it does not know: `channel 'orders'`. */
const OWNER = /^(channel|security) '.*?'(?=[.[]|$)/;

function attempt(at: string, work: () => unknown): Problem[] {
  try {
    work();
    return [];
  } catch (thrown) {
    const { code, message, hint, problems } = toGantryError(thrown);
    if (code === 'SERVICE_FAILED') throw thrown;
    if (problems === undefined) return [{ path: at, message, ...(hint === undefined ? {} : { hint }) }];
    // A transport or a guard knows the definition, but not where it stands.
    return problems.map((one) => ({ ...one, path: `${at}${keyOf(stepsOf(one.path.replace(OWNER, '')))}` }));
  }
}

function twice(what: string, definitions: readonly { name: string }[]): Problem[] {
  const first = new Map<string, number>();
  return definitions.flatMap(({ name }, i) => {
    const other = first.get(name);
    if (other === undefined) {
      first.set(name, i);
      return [];
    }
    return [
      { path: `${what}[${i}].name`, message: `is taken by ${what}[${other}]`, got: name, hint: 'Names are unique.' },
    ];
  });
}
