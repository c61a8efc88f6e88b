import { createHash } from 'node:crypto';
import path from 'node:path';
import { Call } from '../call.ts';
import type { Services } from '../calls/services.ts';
import { GantryError, type Problem, toGantryError } from '../errors.ts';
import type { Loader } from '../loading/loader.ts';
import type { Logger } from '../log/log.ts';
import type { Checker } from '../ports/checker.ts';
import type { Definition } from '../records/record.ts';
import { isService, type Service } from '../service.ts';
import { ROLES } from '../users/roles.ts';

interface Parts {
  readonly services: Services;
  readonly loader: Loader;
  /** Null where no plugin reads types. */
  readonly checker: Checker | null;
  readonly log: Logger;
  /** Packages that modules import are looked for from here. */
  readonly dir: string;
}

interface Named {
  readonly name: string;
  readonly service: Service;
}

interface Loaded {
  readonly print: string;
  readonly services: readonly Named[];
}

const SELF_TEST_MS = 10_000;

/** Modules: services that came while running, of which every server has the same. */
export class Deployments {
  readonly #parts: Parts;
  /** By service, the module that it is deployed of. */
  readonly #owners = new Map<string, string>();
  /** What was checked last, so that it is not loaded a second time to be deployed. */
  #ready: { readonly module: string; readonly loaded: Loaded } | null = null;
  /** By service, what a file had deployed where now a module's is: it comes back when that goes. */
  readonly #beneath = new Map<string, Service | null>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Tries all that deploying it would do, its self-tests too, and deploys nothing. Gives the names of its services.
   * Throws MODULE_INVALID, with a problem for each thing that is wrong.
   */
  async prepare(definition: Definition): Promise<readonly string[]> {
    const loaded = await this.#load(definition);
    const { name } = definition;
    const unfit = loaded.services.flatMap((one) => [...this.#taken(name, one.name), ...roleProblems(one)]);
    if (unfit.length > 0) throw invalid(name, unfit);
    const types = definition['allowTypeErrors'] === true ? [] : await this.#types(definition);
    if (types.length > 0) throw invalid(name, types);
    for (const one of loaded.services) await this.#try(name, one);
    this.#ready = { module: name, loaded };
    return loaded.services.map((one) => one.name);
  }

  /**
   * Deploys it in place of what was there: calls in flight end on the old one. A service of another module becomes this
   * one's: two modules cannot be kept with one service, so the other has lost it, and its own change is put later, or
   * never. Throws, and then all that was there stays.
   */
  async put(definition: Definition): Promise<void> {
    const { name } = definition;
    if (definition['active'] === false) return this.drop(name);
    const loaded = await this.#load(definition);
    this.#unready(name);
    this.#deployAll(name, loaded.services);
    for (const service of this.#servicesOf(name)) if (!has(loaded.services, service)) this.#uncover(service);
    this.#parts.log.info({ module: name, services: loaded.services.map((one) => one.name) }, 'a module was deployed');
  }

  drop(name: string): void {
    const services = this.#servicesOf(name);
    this.#unready(name);
    for (const service of services) this.#uncover(service);
    if (services.length > 0) this.#parts.log.info({ module: name }, 'a module was taken away');
  }

  /** All or none. */
  #deployAll(module: string, all: readonly Named[]): void {
    const { services } = this.#parts;
    const done: [string, Service | null][] = [];
    try {
      for (const { name, service } of all) {
        if (name.startsWith(OWN))
          throw new GantryError('SERVICE_DUPLICATE', `The service '${name}' is the server's own`);
        const before = services.find(name);
        services.deploy(service, name);
        done.push([name, before]);
      }
    } catch (thrown) {
      for (const [name, before] of done.reverse()) this.#restore(name, before);
      throw thrown;
    }
    for (const [name, before] of done) {
      if (!this.#owners.has(name)) this.#beneath.set(name, before);
      this.#owners.set(name, module);
    }
  }

  /** A service of a file comes back, or nothing. */
  #uncover(name: string): void {
    const before = this.#beneath.get(name) ?? null;
    this.#owners.delete(name);
    this.#beneath.delete(name);
    this.#restore(name, before);
  }
  #restore(name: string, before: Service | null): void {
    const { services, log } = this.#parts;
    try {
      if (before !== null) services.deploy(before, name);
      else if (services.has(name)) services.retire(name);
    } catch (error) {
      log.error({ service: name, error }, 'the service that was there before could not be put back');
    }
  }

  async #load({ name, language, source }: Definition): Promise<Loaded> {
    const { loader } = this.#parts;
    const text = String(source);
    const print = createHash('sha256').update(`${language}\0${text}`).digest('hex');
    if (this.#ready?.module === name && this.#ready.loaded.print === print) return this.#ready.loaded;
    const compiled = await loader.compile(path.join(this.#parts.dir, fileOf(name, language)), text);
    if (compiled.problem !== null) throw invalid(name, [{ path: '/source', message: compiled.problem }]);
    let given: unknown;
    try {
      given = loader.run(compiled).default;
    } catch (thrown) {
      const message = `failed while it was loaded: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
      throw invalid(name, [{ path: '/source', message }], thrown);
    }
    return { print, services: namedOf(name, given) };
  }

  async #types({ name, language, source }: Definition): Promise<readonly Problem[]> {
    const { checker } = this.#parts;
    const tongue = language === 'javascript' ? 'javascript' : 'typescript';
    if (checker?.languages.includes(tongue) !== true) return [];
    const found = await checker.check({ file: fileOf(name, language), language: tongue, source: String(source) });
    return found.map((one) => ({ ...one, path: '/source', message: `${one.path} ${one.message}` }));
  }

  async #try(module: string, { name, service }: Named): Promise<void> {
    const { services } = this.#parts;
    let handle: ReturnType<Services['rehearse']>;
    try {
      handle = services.rehearse(service, name);
    } catch (thrown) {
      const { message, hint } = toGantryError(thrown);
      throw invalid(module, [{ path: '/source', message, ...(hint === undefined ? {} : { hint }) }], thrown);
    }
    if (service.selfTest === undefined) return;
    const call = new Call('self-test', {});
    call.invoker = services;
    call.deadlineAt = performance.now() + SELF_TEST_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      const running = service.selfTest(async (input, { verb } = {}) => handle(input, call.child(verb)));
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`did not end in ${SELF_TEST_MS} ms`)), SELF_TEST_MS);
      });
      await Promise.race([running, late]);
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw invalid(module, [{ path: '/source', message: `the self-test of '${name}' failed: ${reason}` }], thrown);
    } finally {
      clearTimeout(timer);
      call.abort(undefined);
    }
  }

  #servicesOf(module: string): readonly string[] {
    return [...this.#owners].filter(([, owner]) => owner === module).map(([service]) => service);
  }
  #unready(module: string): void {
    if (this.#ready?.module === module) this.#ready = null;
  }

  /** Another module's, or the admin API's, which nobody takes the place of. */
  #taken(module: string, service: string): readonly Problem[] {
    const owner = this.#owners.get(service) ?? module;
    if (owner === module && !service.startsWith(OWN)) return [];
    const whose = service.startsWith(OWN) ? 'the server itself' : `the module '${owner}'`;
    return [
      {
        path: '/source',
        message: `the service '${service}' belongs to ${whose}`,
        hint: 'Give it another name, or change that module.',
      },
    ];
  }
}

/** Names of the server's own services begin so. */
const OWN = 'gantry.';

export function fileOf(module: string, language: unknown): string {
  return `${module}.${language === 'javascript' ? 'js' : 'ts'}`;
}

/** Told now: once it is deployed, only the log would hear that the admin API does not have it. */
function roleProblems({ name, service }: Named): readonly Problem[] {
  const admin = service.attributes?.['admin'] as { readonly role?: unknown } | null | undefined;
  const known: readonly string[] = ['public', ...ROLES];
  const role = admin?.role;
  if (admin === undefined || known.some((one) => one === role)) return [];
  return [
    {
      path: '/source',
      message: `the service '${name}' has no valid attributes.admin.role`,
      expected: `one of ${known.join(', ')}`,
      got: typeof role === 'string' ? role : typeof role,
      hint: 'Name the least role that may call it, or leave attributes.admin out.',
    },
  ];
}

function has(services: readonly Named[], name: string): boolean {
  return services.some((one) => one.name === name);
}

/** One service, which may have the module's name, or several, which have names. */
function namedOf(module: string, given: unknown): readonly Named[] {
  const all = Array.isArray(given) ? (given as unknown[]) : [given];
  if (all.length === 0 || !all.every(isService)) {
    const message = 'has no default export made with defineService(), nor a list of such';
    throw invalid(module, [{ path: '/source', message }]);
  }
  const named = all.map((service) => ({ service, name: service.name ?? (all.length === 1 ? module : '') }));
  const nameless = named.findIndex(({ name }) => name === '');
  if (nameless !== -1) {
    const message = `has several services, and the one at index ${nameless} has no name`;
    throw invalid(module, [{ path: '/source', message }]);
  }
  const twice = named.find(({ name }, i) => named.findIndex((one) => one.name === name) !== i);
  if (twice !== undefined) throw invalid(module, [{ path: '/source', message: `has two services '${twice.name}'` }]);
  return named;
}

function invalid(module: string, problems: readonly Problem[], cause?: unknown): GantryError {
  const told = problems.map(({ message }) => message).join('; ');
  return new GantryError('MODULE_INVALID', `The module '${module}' cannot be deployed: ${told}`, { problems, cause });
}
