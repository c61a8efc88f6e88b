import type { Scenario } from './scenario.ts';
import { changes } from './scenarios/changes.ts';
import { database } from './scenarios/database.ts';
import { drain } from './scenarios/drain.ts';
import { haproxy } from './scenarios/haproxy.ts';
import { join } from './scenarios/join.ts';
import { kill } from './scenarios/kill.ts';
import { overhead } from './scenarios/overhead.ts';
import { pace } from './scenarios/pace.ts';
import { redis } from './scenarios/redis.ts';
import { roll } from './scenarios/roll.ts';
import { stop } from './scenarios/stop.ts';
import { term } from './scenarios/term.ts';

/** By the name that is written on the command line, in the order in which they run. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  kill,
  term,
  roll,
  drain,
  stop,
  redis,
  database,
  haproxy,
  changes,
  pace,
  join,
  overhead,
};
