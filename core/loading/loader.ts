import type { Plugin } from '../kernel/plugin.ts';
import { load, loadPlugin } from './plugins.ts';
import { type Compiled, compileText, type Doors, evaluate } from './scripts.ts';
import { readServices, type ServiceFile } from './services.ts';

/** Loads what operators name or write, and hands it this process's own doors. */
export interface Loader {
  /**
   * The plugin that an entry of a config names, as seen from the folder of that config; `known` are ids to suggest.
   * Rejects with PLUGIN_NOT_FOUND or PLUGIN_MALFORMED.
   */
  plugin(use: string, from: string, known?: readonly string[]): Promise<Plugin>;
  /** What a file or a package exports, as seen from a folder. Rejects with what the module throws. */
  module(specifier: string, from: string): Promise<unknown>;
  /** Every service of some folders or files. Rejects with CONFIG_UNREADABLE for a folder that is not there. */
  services(folders: readonly string[]): Promise<ServiceFile[]>;
  /** Compiles a text as if it stood in that file; what is wrong with it is in the result. */
  compile(file: string, text: string): Promise<Compiled>;
  /** Runs what was compiled, and gives what it exports. Throws what it throws. */
  run(compiled: Compiled): { readonly default?: unknown };
}

export function createLoader(doors: Doors): Loader {
  return {
    plugin: (use, from, known = []) => loadPlugin(use, from, known, doors),
    module: (specifier, from) => load(specifier, from, doors),
    services: (folders) => readServices(folders, doors),
    compile: compileText,
    run: (compiled) => evaluate(compiled, doors),
  };
}
