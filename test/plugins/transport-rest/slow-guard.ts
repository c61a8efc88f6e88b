import { type Call, definePlugin, type Identity, Type } from '../../../core/api.ts';
import type { Plugin } from '../../../core/cradle.ts';

export interface Guarded {
  readonly call: Call;
  letIn(): void;
}

/** A guard that lets each caller in when it is told to. */
export function slowGuard(): { readonly plugin: Plugin; readonly guarded: Guarded[] } {
  const guarded: Guarded[] = [];
  const plugin = definePlugin({
    id: 'guard.slow',
    api: 1,
    config: Type.Object({}, { additionalProperties: false }),
    create: () => ({
      definition: Type.Object({}, { additionalProperties: false }),
      compile: () => (call) =>
        new Promise<Identity>((resolve) => {
          guarded.push({ call, letIn: () => resolve({ name: 'somebody', roles: [] }) });
        }),
    }),
  });
  return { plugin: plugin as unknown as Plugin, guarded };
}
