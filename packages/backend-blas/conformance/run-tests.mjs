/** @file `node run-tests.mjs BUNDLE BACKEND`: runs tfjs-core's tests on one backend and writes {name: [failures]} as JSON to its parent. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const [bundle, backend] = process.argv.slice(2);

const jasmine = require('jasmine-core').boot();
const env = jasmine.getEnv();
env.configure({ random: false, hideDisabled: true });
// Tests of tfjs talk on the console, of deprecations mostly.
for (const method of ['log', 'warn', 'info', 'error']) console[method] = () => {};

const { declare, tf } = require(bundle);
await declare(backend);

/** Of each test that was run: what failed in it. Two tests of one name are told apart by a number. */
const results = {};
const seen = new Map();
env.addReporter({
  specDone({ fullName, status, failedExpectations }) {
    if (status !== 'passed' && status !== 'failed') return;
    // The name of the backend is in the name of the test.
    const plain = fullName.replaceAll(` ${backend} {}`, '');
    const count = (seen.get(plain) ?? 0) + 1;
    seen.set(plain, count);
    results[count === 1 ? plain : `${plain} (${count})`] = failedExpectations.map(({ message }) => message);
  },
});
await env.execute();
if (!(await tf.setBackend(backend))) throw new Error(`backend '${backend}' did not start`);
process.send(results, () => process.exit(0));
