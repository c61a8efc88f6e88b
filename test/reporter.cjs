// What `npm test` prints: mocha's spec, and for CI also the counts and failures as JSON where GANTRY_TEST_REPORT names a file.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const file = process.env.GANTRY_TEST_REPORT;
    if (file)
      runner.once('end', () =>
        writeFileSync(file, JSON.stringify({ stats: this.stats, failures: this.failures.map(failureOf) })),
      );
  }
};

function failureOf(test) {
  return { title: test.fullTitle(), told: String(test.err?.stack ?? test.err?.message ?? test.err) };
}
