import { createHash } from 'node:crypto';
import path from 'node:path';
import { Call } from './call.ts';
import { GantryError, type Problem, toGantryError } from './errors.ts';
import type { Logger } from './log.ts';
import { compileText, evaluate } from './modules.ts';
import type { Checker } from './ports/checker.ts';
import type { Definition } from './record.ts';
import { isService, type Service } from './service.ts';
import type { Services } from './services.ts';

interface Parts {
  readonly services: Services;
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
  /** By module, what of it is deployed here. */
  readonly #deployed = new Map<string, Loaded>();
  /** What was checked last, so that it is not loaded a second time to be deployed. */
  readonly #ready = new Map<string, Loaded>();
  /** Services of files that a module took the place of: they come back when it goes. */
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
    const taken = loaded.services.filter((one) => this.#isAnothers(name, one.name));
    if (taken.length > 0) {
      const other = (of: string) => [...this.#deployed].find(([, { services }]) => has(services, of))?.[0];
      throw invalid(
        name,
        taken.map((one) => ({
          path: '/source',
          message: `the service '${one.name}' belongs to ${one.name.startsWith(OWN) ? 'the server itself' : `the module '${other(one.name)}'`}`,
          hint: 'Give it another name, or change that module.',
        })),
      );
    }
    const types = definition['allowTypeErrors'] === true ? [] : await this.#types(definition);
    if (types.length > 0) throw invalid(name, types);
    for (const one of loaded.services) await this.#try(name, one);
    this.#ready.set(name, loaded);
    return loaded.services.map((one) => one.name);
  }

  /** Deploys it in place of what was there: calls in hand end on the old one. Throws, and then that stays. */
  async put(definition: Definition): Promise<void> {
    const { name } = definition;
    if (definition['active'] === false) return this.drop(name);
    const loaded = await this.#load(definition);
    this.#ready.delete(name);
    const before = this.#deployed.get(name)?.services ?? [];
    this.#deployAll(name, loaded.services);
    this.#deployed.set(name, loaded);
    for (const { name: service } of before) if (!has(loaded.services, service)) this.#uncover(service);
    this.#parts.log.info({ module: name, services: loaded.services.map((one) => one.name) }, 'a module was deployed');
  }

  drop(name: string): void {
    const services = this.#deployed.get(name)?.services ?? [];
    this.#deployed.delete(name);
    this.#ready.delete(name);
    for (const one of services) this.#uncover(one.name);
    if (services.length > 0) this.#parts.log.info({ module: name }, 'a module was taken away');
  }

  /** All or none. */
  #deployAll(module: string, all: readonly Named[]): void {
    const { services } = this.#parts;
    const done: [string, Service | null][] = [];
    try {
      for (const { name, service } of all) {
        if (this.#isAnothers(module, name)) {
          throw new GantryError('SERVICE_DUPLICATE', `The service '${name}' is another module's`);
        }
        const before = services.find(name);
        services.deploy(service, name);
        done.push([name, before]);
      }
    } catch (thrown) {
      for (const [name, before] of done.reverse()) this.#restore(name, before);
      throw thrown;
    }
    const own = this.#deployed.get(module)?.services ?? [];
    for (const [name, before] of done) {
      if (!has(own, name) && !this.#beneath.has(name)) this.#beneath.set(name, before);
    }
  }

  /** A service of a file comes back, or nothing. */
  #uncover(name: string): void {
    const before = this.#beneath.get(name) ?? null;
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
    const text = String(source);
    const print = createHash('sha256').update(`${language}\0${text}`).digest('hex');
    const ready = this.#ready.get(name);
    if (ready?.print === print) return ready;
    const compiled = await compileText(path.join(this.#parts.dir, fileOf(name, language)), text);
    if (compiled.problem !== null) throw invalid(name, [{ path: '/source', message: compiled.problem }]);
    let given: unknown;
    try {
      given = evaluate(compiled).default;
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

  /** Of another module, or of the admin API, which nobody takes the place of. */
  #isAnothers(module: string, service: string): boolean {
    if (service.startsWith(OWN)) return true;
    return [...this.#deployed].some(([name, { services }]) => name !== module && has(services, service));
  }
}

/** Names of the server's own services begin so. */
const OWN = 'gantry.';

export function fileOf(module: string, language: unknown): string {
  return `${module}.${language === 'javascript' ? 'js' : 'ts'}`;
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
