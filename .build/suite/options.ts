/** The command line of `npm test`. */
import { parseArgs } from 'node:util';

export interface Options {
  /** Files, folders or patterns; empty: all. */
  readonly specs: readonly string[];
  /** Patterns of files that are left out. */
  readonly ignore: readonly string[];
  /** How many processes at most; null: by the number of cores. */
  readonly processes: number | null;
  readonly quick: boolean;
  readonly record: boolean;
  /** What is handed on to mocha. */
  readonly mocha: readonly string[];
  /** Only some tests of a file may run. */
  readonly picks: boolean;
}

export const USAGE = `npm test -- [FILE ...] [options]
  --grep TEXT, --fgrep TEXT, --invert, --timeout MS, --retries N, --dry-run   as mocha has them
  --ignore PATTERN   leaves files out (again and again)
  --quick            only files that need no engine and are soon done (npm run test:quick)
  --processes N      at most so many at a time
  --record           writes what each file took to .build/suite/durations.json
Environment: GANTRY_TEST_REPORT=FILE (counts and failures as JSON), GANTRY_TEST_INSTALL=1 (installs missing engines),
GANTRY_TEST_LONG=1 (the long form of some tests).
`;

/** Throws for what it does not know. */
export function optionsOf(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      grep: { type: 'string', short: 'g' },
      fgrep: { type: 'string', short: 'f' },
      invert: { type: 'boolean', short: 'i' },
      timeout: { type: 'string', short: 't' },
      retries: { type: 'string' },
      'dry-run': { type: 'boolean' },
      ignore: { type: 'string', multiple: true },
      quick: { type: 'boolean' },
      processes: { type: 'string' },
      record: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) throw new Error('npm test runs all tests, or those that are named.');
  const { ignore = [], quick = false, record = false, processes, help: _, ...ofMocha } = values;
  if (processes !== undefined && !/^[1-9]\d?$/.test(processes)) throw new Error(`--processes ${processes}: 1 to 99`);
  const mocha = Object.entries(ofMocha).flatMap(([name, value]) => [
    `--${name}`,
    ...(value === true ? [] : [`${value}`]),
  ]);
  return {
    specs: positionals,
    ignore,
    processes: processes === undefined ? null : Number(processes),
    quick,
    record,
    mocha,
    picks: values.grep !== undefined || values.fgrep !== undefined,
  };
}
