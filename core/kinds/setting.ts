import { Type } from 'typebox';
import { LEVELS, type Level, type Logs } from '../log/log.ts';
import type { Effect, Kind } from '../ports/kind.ts';
import { Name } from './name.ts';

/** Settings that this process obeys itself; any other name is for services to read. */
const LOG_LEVEL = 'log.level';
/** True: no job runs by its schedule. The scheduler obeys it. */
const SCHEDULER_PAUSED = 'scheduler.paused';

interface Wanted {
  readonly expected: string;
  fits(value: unknown): boolean;
}

const WANTED: Readonly<Record<string, Wanted>> = {
  [LOG_LEVEL]: { expected: `one of ${LEVELS.join(', ')}`, fits: (value) => LEVELS.includes(value as Level) },
  [SCHEDULER_PAUSED]: { expected: 'true or false', fits: (value) => typeof value === 'boolean' },
};

const Setting = Type.Object(
  {
    name: Name('settings'),
    value: Type.Unknown({ description: 'Any JSON' }),
    description: Type.Optional(Type.String({ maxLength: 1000 })),
  },
  { additionalProperties: false },
);

export const setting = ({ logs }: { readonly logs: Logs }): Kind => ({
  description: 'A value that services read, or that this process obeys',
  schema: Setting,
  fields: [],
  roles: { read: 'viewer', write: 'developer' },
  check({ name, value }) {
    const wanted = Object.hasOwn(WANTED, name) ? WANTED[name] : undefined;
    if (wanted === undefined || wanted.fits(value)) return [];
    const { expected } = wanted;
    return [{ path: '/value', message: `must be ${expected}`, expected, got: JSON.stringify(value) }];
  },
  effect: logLevel(logs),
});

/** Changes the level of the log while the server runs; without the setting it is what the config file says. */
function logLevel(logs: Logs): Effect {
  const configured = logs.level();
  return {
    put({ name, value }) {
      if (name === LOG_LEVEL) logs.setLevel(value as Level);
    },
    drop(name) {
      if (name === LOG_LEVEL) logs.setLevel(configured);
    },
  };
}
