import type { Problem } from './errors.ts';
import type { Effect } from './live-records.ts';
import { LEVELS, type Level, type Logs } from './log.ts';

/** Settings that this process obeys itself; any other name is for services to read. */
const LOG_LEVEL = 'log.level';

/** What is wrong with the value of a setting. */
export function checkSetting(name: string, value: unknown): Problem[] {
  if (name !== LOG_LEVEL || LEVELS.includes(value as Level)) return [];
  const expected = `one of ${LEVELS.join(', ')}`;
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
