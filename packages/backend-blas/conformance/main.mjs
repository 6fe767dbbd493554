/**
 * @file `npm run conformance -w @spft/backend-blas`: tfjs-core's own tests on `cpu`, then on `blas`; what passes on the first must pass on the
 * second. `-- --backend NAME` tests another in its place, `-- --broken KERNEL` breaks one of its kernels first, `-- --list` says more.
 */
import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.mjs';
import { LEFT_OUT } from './left-out.mjs';

const { values: flags } = parseArgs({
  options: {
    ...{ backend: { type: 'string', default: 'blas' }, broken: { type: 'string' } },
    list: { type: 'boolean', default: false },
  },
});

/** @returns {Promise<Record<string, string[]>>} what failed in each test. */
function runTests(file, backend, broken = '') {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./run-tests.mjs', import.meta.url)), [file, backend, broken]);
    let results = null;
    child.on('message', (message) => {
      results = message;
    });
    child.on('exit', (code, signal) => {
      if (results && code === 0) resolve(results);
      else
        reject(new Error(`the tests on '${backend}' ended with ${signal ?? `exit code ${code}`} and gave no results`));
    });
  });
}

const file = await bundle();
try {
  const [expected, found] = [await runTests(file, 'cpu'), await runTests(file, flags.backend, flags.broken)];
  const names = Object.keys(expected);
  const failsOnCpu = names.filter((name) => expected[name].length > 0);
  const reasons = new Map(
    LEFT_OUT.flatMap(({ test, reason }) => names.filter((n) => test.test(n)).map((n) => [n, reason])),
  );
  const wanted = names.filter((name) => expected[name].length === 0 && !reasons.has(name));
  const failed = wanted.filter((name) => found[name] === undefined || found[name].length > 0);

  console.log(`left out, as it fails on cpu itself: ${failsOnCpu.length}`);
  for (const name of failsOnCpu) console.log(`  ${name}${flags.list ? `: ${expected[name][0]}` : ''}`);
  console.log(`left out for a reason: ${reasons.size}`);
  for (const [name, reason] of reasons) console.log(`  ${name}: ${reason}`);
  for (const name of failed) {
    console.log(`FAILED ${name}`);
    for (const message of found[name] ?? ['it was not run'])
      console.log(`  ${message.split('\n').slice(0, 3).join('\n  ')}`);
  }
  if (wanted.length === 0) throw new Error('no test passes on cpu: the bundle is broken');
  console.log(`${wanted.length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
} finally {
  rmSync(file, { force: true });
}
