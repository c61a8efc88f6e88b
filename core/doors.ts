import * as api from './api.ts';
import { createLoader } from './loading/loader.ts';

/** What plugins, services and modules may import of this process, whatever folder their files lie in. */
export const loader = createLoader({ 'gantry/api': api });
