/** Create, get, list, update and remove for every kind of record, those of plugins too. */
import { defineServices } from 'gantry/api';
import { jobAnswer } from './_job.ts';
import { kindServices } from './_kind.ts';

export default defineServices(({ kinds }) =>
  kinds.names().flatMap((name) => kindServices(name, kinds.get(name), name === 'job' ? jobAnswer : undefined)),
);
