import type { JobScenario } from './scenario.ts';
import { jobsClock, jobsDatabaseClock, jobsSqliteClock } from './scenarios/clock.ts';
import { jobsDatabase } from './scenarios/database.ts';
import { jobsDurable } from './scenarios/durable.ts';
import { jobsFreeze } from './scenarios/freeze.ts';
import { jobsIdle } from './scenarios/idle.ts';
import { jobsKill, jobsStop } from './scenarios/kill.ts';
import { jobsMany } from './scenarios/many.ts';
import { jobsSlowDatabase } from './scenarios/slow.ts';
import { jobs, jobsMariadb, jobsSqlite } from './scenarios/steady.ts';

/** By the name that is written on the command line, in the order in which they run. */
export const JOB_SCENARIOS: Readonly<Record<string, JobScenario>> = {
  jobs,
  'jobs-sqlite': jobsSqlite,
  'jobs-mariadb': jobsMariadb,
  'jobs-idle': jobsIdle,
  'jobs-kill': jobsKill,
  'jobs-stop': jobsStop,
  'jobs-freeze': jobsFreeze,
  'jobs-slow-database': jobsSlowDatabase,
  'jobs-database': jobsDatabase,
  'jobs-clock': jobsClock,
  'jobs-database-clock': jobsDatabaseClock,
  'jobs-sqlite-clock': jobsSqliteClock,
  'jobs-durable': jobsDurable,
  'jobs-many': jobsMany,
};
