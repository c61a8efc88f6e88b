import * as api from './api.ts';
import { createLoader } from './loading/loader.ts';
import * as parts from './parts.ts';

/** What plugins, services and modules may import of this process, whatever folder their files lie in. */
export const loader = createLoader({
  'gantry/api': api,
  'gantry/parts': parts,
  // Types only: nothing is left of it when it runs.
  'gantry/ports': {},
});
