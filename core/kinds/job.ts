import { checkJob, JobDefinition, keepJob } from '../jobs/jobs.ts';
import type { Timetable } from '../jobs/timetable.ts';
import type { Kind } from '../ports/kind.ts';
import { invalid, pointed } from '../records/invalid.ts';

export const job = ({ timetable }: { readonly timetable: Timetable }): Kind => ({
  description: 'A service that runs at times',
  schema: JobDefinition,
  fields: ['service', 'active'],
  own: ['since'],
  roles: { read: 'viewer', write: 'developer' },
  keep(definition, past) {
    const now = Date.now();
    const problems = checkJob(definition, past, now);
    if (problems.length > 0) throw invalid('job', definition.name, problems.map(pointed));
    return keepJob(definition, past, now);
  },
  effect: timetable,
});
