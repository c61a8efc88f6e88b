import type { Problem } from '../errors.ts';
import { LEVELS, type Level, type Logs } from '../log/log.ts';
import type { Effect } from '../records/live-records.ts';

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

/** What is wrong with the value of a setting. */
export function checkSetting(name: string, value: unknown): Problem[] {
  const wanted = Object.hasOwn(WANTED, name) ? WANTED[name] : undefined;
  if (wanted === undefined || wanted.fits(value)) return [];
  const { expected } = wanted;
  return [{ path: '/value', message: `must be ${expected}`, expected, got: JSON.stringify(value) }];
}

/** Changes the level of the log while the server runs; without the setting it is what the config file says. */
export function settingsEffect(logs: Logs): Effect {
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
