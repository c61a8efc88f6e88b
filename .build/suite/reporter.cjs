// Sends what happens in a process of tests to the runner (events.ts), by the channel that it opened.
const { readFileSync } = require('node:fs');
const path = require('node:path');

/** One tick of /proc/self/stat, in ms, on every Linux. */
const TICK_MS = 10;
/** A test may go elsewhere. */
const HOME = process.cwd();

module.exports = class Reporter {
  constructor(runner) {
    let current = null;
    let began = 0;
    let cpu = 0;
    const send = (event) => process.send?.(event);
    const settle = () => {
      if (current === null) return;
      send({ type: 'cost', file: current, ms: Math.round(performance.now() - began), cpuMs: cpuMs() - cpu });
    };
    const enter = (file) => {
      const next = file === undefined ? current : path.relative(HOME, file);
      if (next === current) return;
      settle();
      [current, began, cpu] = [next, performance.now(), cpuMs()];
      send({ type: 'file', file: next });
    };
    const tell = (state) => (test, error) => {
      enter(test.file);
      const told = state === 'failed' ? { error: errorOf(error ?? test.err) } : {};
      send({ type: 'result', result: { file: current, title: test.fullTitle(), state, ...told } });
    };
    runner.on('suite', (suite) => enter(suite.file));
    for (const event of ['hook', 'test']) {
      runner.on(event, ({ file }) => {
        enter(file);
        send({ type: 'test' });
      });
    }
    runner.on('pass', tell('passed'));
    runner.on('fail', tell('failed'));
    runner.on('pending', tell('skipped'));
    runner.once('end', settle);
    // The test that runs is the last one; hooks end what the tests started.
    process.once('SIGINT', () => runner.abort());
  }

  /** Once all is sent: mocha ends the process after this. */
  done(failures, finish) {
    if (process.send === undefined) finish(failures);
    else process.send({ type: 'end' }, () => finish(failures));
  }
};

// The runner is gone, however it ended: nobody hears of the tests.
process.once('disconnect', () => process.exit(1));

/** Of this process, and of those that it started and that have ended. */
function cpuMs() {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * TICK_MS, 0);
  } catch {
    const { user, system } = process.cpuUsage();
    return Math.round((user + system) / 1000);
  }
}

function errorOf(error) {
  const told = String(error?.stack ?? error?.message ?? error);
  const { actual, expected } = error ?? {};
  if (error?.showDiff === false || actual === undefined || expected === undefined) return told;
  const { inspect } = require('node:util');
  const text = (value) => inspect(value, { depth: 6, maxStringLength: 4000, breakLength: 110 });
  return `${told}\n  expected: ${text(expected)}\n  got:      ${text(actual)}`;
}
