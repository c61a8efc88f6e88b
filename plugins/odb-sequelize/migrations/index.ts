import type { Migration } from '../schema.ts';
import { records } from './0001-records.ts';
import { effects } from './0002-effects.ts';
import { runs } from './0003-runs.ts';

/** All of them, in their order. What was released is never changed; what changes is added at the end. */
export const MIGRATIONS: readonly Migration[] = [records, effects, runs];
