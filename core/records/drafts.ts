import type { TSchema } from 'typebox';
import { type ChannelDefinition, type Channels, namesOf, RECORDS } from '../calls/channels.ts';
import type { ConnectionDefinition, Connections } from '../calls/connections.ts';
import { placed, type Securities, type SecurityDefinition } from '../calls/securities.ts';
import { BalancerSettingsSchema } from '../cluster/balancing.ts';
import { didYouMean, GantryError, isGantryError, type Problem, toGantryError } from '../errors.ts';
import { checkFuture, checkJob, keepJob } from '../jobs/jobs.ts';
import { isKind, KINDS, type Kind } from '../kinds/index.ts';
import { checkSetting } from '../kinds/setting.ts';
import type { Deployments } from '../modules/deployments.ts';
import type { Guard } from '../ports/guard.ts';
import type { Reference, Stored, Write } from '../ports/odb.ts';
import type { Passwords } from '../ports/password.ts';
import type { Transport } from '../ports/transport.ts';
import { compileConfig } from '../schema/check.ts';
import { copy } from '../schema/copy.ts';
import { NOWHERE, type Places, placesOf, SecretText } from '../schema/secret.ts';
import type { Keyring } from '../secrets/keyring.ts';
import { hide, merge, open, reuse, same, seal } from '../secrets/sealing.ts';
import { checkUser, keepUser } from '../users/users.ts';
import type { Definition } from './record.ts';

export interface DraftParts {
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly deployments: Deployments;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly guards: ReadonlyMap<string, Guard>;
  readonly passwords: Passwords | null;
  readonly keyring: Keyring;
  /** The verbs of a service, for the addresses of its channels. */
  verbs(service: string): readonly string[] | null;
  /** Whether the config file has one of that name. */
  fixed(kind: string, name: string): boolean;
}

/** A definition that is fit to be saved. */
export interface Draft {
  readonly kind: string;
  readonly name: string;
  /** Without the name; secrets hashed or sealed. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Says what is kept already. */
  readonly unchanged: boolean;
  readonly write: Write;
}

/** Others of the same batch, which count as if they were there. */
export interface Batch {
  has(kind: string, name: string): boolean;
}
const ALONE: Batch = { has: () => false };

/** Makes what is kept of what operators write: checked by the schemas of core and plugins, hashed, sealed. */
export class Drafts {
  readonly #parts: DraftParts;
  readonly #schemas = new Map<string, ReturnType<typeof compileConfig>>();
  readonly #addresses = new Map<TSchema, ReturnType<typeof compileConfig>>();

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** `earlier` is the record that it takes the place of. Rejects with RECORD_INVALID, listing all problems. */
  async make(kind: string, given: Definition, earlier: Stored | null, batch: Batch | null = null): Promise<Draft> {
    const { name } = given;
    const { keyring } = this.#parts;
    const context = `${kind}/${name}`;
    const before = earlier === null ? null : { name, ...earlier.body };
    const merged = merge(this.#secrets(kind, given), given, before ?? undefined);
    if (merged.problems.length > 0) throw invalid(kind, name, merged.problems);
    const { value, problems: unreadable } = open(merged.value, keyring, context);
    if (unreadable.length > 0) throw invalid(kind, name, unreadable);
    const clear = value as Definition;
    const problems = this.check(kind, clear, batch ?? ALONE);
    if (problems.length > 0) throw invalid(kind, name, problems);
    const past = before === null ? null : (open(before, keyring, context).value as Definition);
    const kept = await this.#keep(kind, clear, past);
    this.#try(kind, kept, batch !== null);
    const sealed = seal(this.#secrets(kind, kept), kept, keyring, context) as Definition;
    const lasting = reuse(reuse(sealed, merged.value, keyring, context), before, keyring, context) as Definition;
    const { name: _name, ...body } = lasting;
    const unchanged = past !== null && same(this.#filled(kind, past), this.#filled(kind, kept));
    return { kind, name, body, unchanged, write: this.#write(kind, kept, body, earlier) };
  }

  /** The same record with its secrets sealed otherwise: nothing of what it says has changed. */
  resealed(stored: Stored, body: Stored['body']): Write {
    const { kind, name } = stored;
    const clear = open({ name, ...body }, this.#parts.keyring, `${kind}/${name}`).value as Definition;
    return this.#write(kind, clear, body, stored);
  }

  /** A definition whose secrets are in the clear, as people may see it. */
  hidden(kind: string, definition: Definition): Definition {
    return hide(definition, this.#secrets(kind, definition)) as Definition;
  }

  /** What is wrong with a definition whose secrets are in the clear, with JSON pointers into it. */
  check(kind: string, definition: Definition, batch: Batch = ALONE): Problem[] {
    const filled = copy(definition) as Definition;
    const wrong = this.#schema(kind)(filled, '', (pointer) => pointer);
    if (wrong.length > 0) return [...wrong];
    return [...named(definition.name), ...this.#beyond(kind, filled, batch)].map(pointed);
  }

  /** What only the parts know that will run with it. */
  #beyond(kind: string, filled: Definition, batch: Batch): readonly Problem[] {
    const { channels, connections, securities } = this.#parts;
    switch (kind) {
      case 'channel': {
        const shared = namesOf(filled['security'] as ChannelDefinition['security']);
        const problems = channels.check(filled as unknown as ChannelDefinition, '');
        return problems.filter(
          ({ path, got = '' }) => path !== '.security' || !shared.includes(got) || !batch.has('security', got),
        );
      }
      case 'connection':
        return connections.check(filled as unknown as ConnectionDefinition, '');
      case 'security':
        return securities.check(filled as unknown as SecurityDefinition, '');
      case 'setting':
        return checkSetting(filled.name, filled['value']);
      case 'user':
        return checkUser(filled);
      case 'job':
        return checkJob(filled);
      default:
        return [];
    }
  }

  /** Passwords and keys become hashes, and what a module holds is found out. */
  async #keep(kind: string, definition: Definition, past: Definition | null): Promise<Definition> {
    if (kind === 'module') return this.#keepModule(definition, past);
    if (kind === 'job') return keptJob(definition, past);
    if (kind === 'user') return keepUser(definition, past, this.#parts.passwords);
    const of = { kind, name: definition.name };
    if (kind === 'security') {
      const { guard, definition: own } = definition as unknown as SecurityDefinition;
      const earlier = past?.['guard'] === guard ? (past['definition'] as Record<string, unknown>) : null;
      return { ...definition, definition: await this.#kept(guard, own, earlier, of, '.definition') };
    }
    const { security } = definition as unknown as ChannelDefinition;
    if (kind !== 'channel' || typeof security !== 'object' || Array.isArray(security)) return definition;
    const { guard, ...own } = security as { guard: string } & Record<string, unknown>;
    const { guard: other, ...before } = (past?.['security'] ?? {}) as { guard?: string } & Record<string, unknown>;
    const kept = await this.#kept(guard, own, other === guard ? before : null, of, '.security');
    return { ...definition, security: { guard, ...kept } };
  }

  /** One that is kept as it is was tried when it came. */
  async #keepModule(definition: Definition, past: Definition | null): Promise<Definition> {
    const isSame = ['source', 'language', 'allowTypeErrors'].every((field) => past?.[field] === definition[field]);
    if (isSame && past?.['services'] !== undefined) return { ...definition, services: past['services'] };
    try {
      return { ...definition, services: await this.#parts.deployments.prepare(definition) };
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (error.code !== 'MODULE_INVALID') throw thrown;
      throw invalid('module', definition.name, error.problems ?? []);
    }
  }

  async #kept(
    name: string,
    own: Record<string, unknown>,
    earlier: Record<string, unknown> | null,
    of: Reference,
    at: string,
  ) {
    const guard = this.#parts.guards.get(name);
    if (guard?.keep === undefined) return own;
    try {
      return await guard.keep(own, earlier);
    } catch (thrown) {
      if (!isGantryError(thrown) || thrown.problems === undefined) throw thrown;
      throw invalid(of.kind, of.name, placed(thrown.problems, at).map(pointed));
    }
  }

  /** Compiles and binds it, and takes it out again: what only that would tell. Others of a batch may make room for it. */
  #try(kind: string, kept: Definition, batched: boolean): void {
    const { channels, securities, fixed } = this.#parts;
    try {
      if (kind === 'security') {
        const { guard, definition } = copy(kept) as unknown as SecurityDefinition;
        securities.compile(guard, definition, '.definition');
      }
      if (kind === 'channel' && kept['active'] !== false && !fixed(kind, kept.name)) {
        channels.try(kept as unknown as ChannelDefinition, RECORDS);
      }
    } catch (thrown) {
      if (!isGantryError(thrown) || (thrown.kind !== 'invalid' && thrown.kind !== 'conflict')) throw thrown;
      if (thrown.kind === 'conflict') {
        if (batched) return;
        throw thrown;
      }
      const { message, hint, problems } = toGantryError(thrown);
      const own: Problem = { path: '', message, ...(hint === undefined ? {} : { hint }) };
      const at = `channel '${kept.name}'`;
      const placing = (p: Problem) => (p.path.startsWith(at) ? { ...p, path: p.path.slice(at.length) } : p);
      throw invalid(kind, kept.name, (problems ?? [own]).map(placing).map(pointed));
    }
  }

  #write(kind: string, kept: Definition, body: Draft['body'], earlier: Stored | null): Write {
    const { name } = kept;
    const content = {
      kind,
      name,
      body,
      fields: this.#fields(kind, kept),
      references: this.#references(kind, kept),
      claims: this.#claims(kind, kept),
      after: hide({ name, ...body }),
    };
    if (earlier === null) return { action: 'create', ...content };
    const before = hide({ name, ...earlier.body });
    return { action: 'update', version: earlier.version, ...content, before };
  }

  #fields(kind: string, kept: Definition): Record<string, string> {
    const filled = this.#filled(kind, kept);
    const entries = kindOf(kind).fields.map((field) => [field, filled[field]] as const);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined).map(([f, v]) => [f, String(v)]));
  }

  /** A definition of the config file is no record: nobody else knows it. */
  #references(kind: string, kept: Definition): readonly Reference[] {
    const all = kindOf(kind).references?.(kept) ?? [];
    return all.filter((one) => !this.#parts.fixed(one.kind, one.name));
  }

  #claims(kind: string, kept: Definition): readonly string[] {
    if (kind === 'module' && kept['active'] !== false) {
      return ((kept['services'] ?? []) as readonly string[]).map((service) => `service ${service}`);
    }
    if (kind !== 'channel' || kept['active'] === false) return [];
    const { transport, address, service } = kept as unknown as ChannelDefinition;
    const of = this.#parts.transports.get(transport);
    const bound = this.#address(of?.address, address);
    const claims = of?.claims?.(bound, this.#parts.verbs(service)) ?? [JSON.stringify(sorted(bound))];
    return claims.map((claim) => `channel ${transport} ${claim}`);
  }

  /** As bind() gets it: with what the transport's schema has defaults for. */
  #address(schema: TSchema | undefined, address: ChannelDefinition['address']): ChannelDefinition['address'] {
    if (schema === undefined) return address;
    let validate = this.#addresses.get(schema);
    if (validate === undefined) this.#addresses.set(schema, (validate = compileConfig(schema)));
    const filled = copy(address) as ChannelDefinition['address'];
    validate(filled, '');
    return filled;
  }

  /** With what the schema has defaults for. */
  #filled(kind: string, definition: Definition): Definition {
    const filled = copy(definition) as Definition;
    this.#schema(kind)(filled, '');
    return filled;
  }

  #schema(kind: string): ReturnType<typeof compileConfig> {
    let validate = this.#schemas.get(kind);
    if (validate === undefined) this.#schemas.set(kind, (validate = compileConfig(kindOf(kind).schema, kind)));
    return validate;
  }

  /** Which parts of a definition are secret is told by the plugins that it is for. */
  #secrets(kind: string, definition: Definition): Places {
    const { transports, guards } = this.#parts;
    const { transport, guard, security } = definition as { transport?: string; guard?: string; security?: unknown };
    switch (kind) {
      case 'connection':
        return placesOf({}, { options: transports.get(transport ?? '')?.options });
      case 'security':
        return placesOf({}, { definition: guards.get(guard ?? '')?.definition });
      case 'channel': {
        const own = guards.get((security as { guard?: string } | undefined)?.guard ?? '');
        return placesOf({}, { settings: transports.get(transport ?? '')?.settings, security: own?.definition });
      }
      case 'balancer':
        return placesOf({}, { stats: BalancerSettingsSchema.properties['stats'] });
      case 'user':
        return placesOf({}, { password: SecretText(), passwordHash: SecretText() });
      default:
        return NOWHERE;
    }
  }
}

/** Throws RECORD_INVALID for a kind that there is not. */
export function kindOf(kind: string): Kind {
  if (isKind(kind)) return KINDS[kind] as Kind;
  const known = Object.keys(KINDS);
  throw new GantryError('RECORD_INVALID', `There is no kind of record '${kind}'`, {
    problems: [
      { path: '/kind', message: 'is not a kind of record', expected: `one of ${known.join(', ')}`, got: kind },
    ],
    hint: didYouMean(kind, known),
  });
}

function keptJob(definition: Definition, past: Definition | null): Definition {
  const now = Date.now();
  const problems = checkFuture(definition, past, now);
  if (problems.length > 0) throw invalid('job', definition.name, problems.map(pointed));
  return keepJob(definition, past, now);
}

function invalid(kind: string, name: string, problems: readonly Problem[]): GantryError {
  const told = problems.map((p) => `${p.path || '/'} ${p.message}`).join('; ');
  return new GantryError('RECORD_INVALID', `The ${kind} '${name}' is not valid: ${told}`, { problems });
}

/** Channels, connections and security definitions may be named otherwise in a config file. */
function named(name: string): Problem[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!/[\u0000-\u001f\u007f]/.test(name)) return [];
  return [{ path: '.name', message: 'has a control character', got: JSON.stringify(name), hint: 'Take it out.' }];
}

/** `.options.url`, or `users.0.password` of a guard, as a JSON pointer (RFC 6901). */
function pointed(problem: Problem): Problem {
  const { path } = problem;
  if (path === '' || path.startsWith('/')) return problem;
  return {
    ...problem,
    path: `/${path.replace(/^\./, '').replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('.', '/')}`,
  };
}

/** The same JSON, whatever the order of its keys was. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries.map(([key, entry]) => [key, sorted(entry)]));
}
