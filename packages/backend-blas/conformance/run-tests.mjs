/**
 * @file `node run-tests.mjs BUNDLE BACKEND [KERNEL]`: runs tfjs-core's tests on one backend and sends {name: [failures]} to its parent. A kernel that
 * is named is broken first, to see that the tests notice.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const [bundle, backend, broken] = process.argv.slice(2);

const jasmine = require('jasmine-core').boot();
const env = jasmine.getEnv();
env.configure({ random: false, hideDisabled: true });
// Tests of tfjs talk on the console, of deprecations mostly.
for (const method of ['log', 'warn', 'info', 'error']) console[method] = () => {};

const { declare, tf } = require(bundle);
if (broken) {
  const { kernelFunc, ...kernel } = tf.getKernel(broken, backend);
  tf.unregisterKernel(broken, backend);
  tf.registerKernel({
    ...kernel,
    kernelFunc: (given) => {
      const output = kernelFunc(given);
      const { values } = given.backend.data.get(output.dataId);
      if (values?.length > 0) values[values.length - 1] += 1;
      return output;
    },
  });
}
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
