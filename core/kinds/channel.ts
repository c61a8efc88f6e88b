import { ChannelDefinition, type Channels, namesOf, RECORDS } from '../calls/channels.ts';
import type { Services } from '../calls/services.ts';
import type { Guard } from '../ports/guard.ts';
import type { Definition, Kind } from '../ports/kind.ts';
import type { Transport } from '../ports/transport.ts';
import { placesOf } from '../schema/secret.ts';
import { keptByGuard } from './guarded.ts';
import { attempted } from './trial.ts';

interface Given {
  readonly channels: Channels;
  readonly services: Services;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly guards: ReadonlyMap<string, Guard>;
}

type OwnSecurity = { readonly guard: string } & Readonly<Record<string, unknown>>;

export function channel({ channels, services, transports, guards }: Given): Kind {
  const read = (definition: Definition) => definition as unknown as ChannelDefinition;
  return {
    description: 'A service at an address',
    schema: ChannelDefinition,
    fields: ['transport', 'service', 'format', 'active'],
    roles: { read: 'viewer', write: 'developer' },
    secrets({ transport, security }) {
      const own = guards.get((security as Partial<OwnSecurity> | undefined)?.guard ?? '');
      return placesOf({}, { settings: transports.get(String(transport))?.settings, security: own?.definition });
    },
    check(definition, batch) {
      const shared = namesOf(read(definition).security);
      const isComing = (got = '') => shared.includes(got) && batch.has('security', got);
      return channels.check(read(definition), '').filter(({ path, got }) => path !== '.security' || !isComing(got));
    },
    async keep(definition, past) {
      const own = ownSecurity(definition);
      if (own === null) return definition;
      const { guard, ...given } = own;
      const { guard: other, ...before } = (past === null ? null : ownSecurity(past)) ?? { guard: null };
      const earlier = other === guard ? before : null;
      const of = { kind: 'channel', name: definition.name };
      return {
        ...definition,
        security: { guard, ...(await keptByGuard(guards.get(guard), given, earlier, of, '.security')) },
      };
    },
    try(whole) {
      if (whole['active'] !== false) attempted('channel', whole.name, () => channels.try(read(whole), RECORDS));
    },
    references: (definition) => namesOf(read(definition).security).map((name) => ({ kind: 'security', name })),
    claims(definition) {
      const { transport, address, service, active } = read(definition);
      if (active === false) return [];
      const of = transports.get(transport);
      const verbs = services.has(service) ? services.slot(service).verbs : null;
      const claims = of?.claims?.(address, verbs) ?? [JSON.stringify(sorted(address))];
      return claims.map((claim) => `channel ${transport} ${claim}`);
    },
    effect: {
      put(definition) {
        const given = read(definition);
        if (given.active !== false) channels.rebind(given, RECORDS);
        else if (channels.has(given.name, RECORDS)) channels.unbind(given.name);
      },
      drop(name) {
        if (channels.has(name, RECORDS)) channels.unbind(name);
      },
    },
  };
}

/** A guard with its own keys, where a channel names no shared definition. */
function ownSecurity({ security }: Definition): OwnSecurity | null {
  return typeof security === 'object' && security !== null && !Array.isArray(security)
    ? (security as OwnSecurity)
    : null;
}

/** The same JSON, whatever the order of its keys was. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries.map(([key, entry]) => [key, sorted(entry)]));
}
