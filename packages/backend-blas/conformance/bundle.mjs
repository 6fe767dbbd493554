/**
 * @file tfjs-core's own tests, its cpu backend and this package's sources in one CommonJS file: the tests import tfjs-core by relative paths and
 * as a bundler would, and a backend must be registered with that very copy.
 */
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const require = createRequire(import.meta.url);
const core = dirname(require.resolve('@tensorflow/tfjs-core/package.json'));
const cpu = dirname(require.resolve('@tensorflow/tfjs-backend-cpu/package.json'));
const source = fileURLToPath(new URL('../src/index.ts', import.meta.url));

const ENTRY = `
import '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import '@tensorflow/tfjs-backend-cpu';
import ${JSON.stringify(source)};
import * as tf from '@tensorflow/tfjs-core';
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util';
export { tf };
/** Declares every test for one backend. */
export async function declare(backendName) {
  setTestEnvs([{ name: backendName, backendName, isDataSync: true }]);
  await import('@tensorflow/tfjs-core/dist/tests');
}
`;

/** Names of modules to the files that a bundler would take. */
const resolveTfjs = {
  name: 'tfjs',
  setup({ onResolve }) {
    onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, () => ({ path: join(core, 'dist/index.js') }));
    onResolve({ filter: /^@tensorflow\/tfjs-backend-cpu$/ }, () => ({
      path: join(cpu, 'dist/index.js'),
    }));
    onResolve({ filter: /^@tensorflow\/tfjs-core\/dist\/.*$/ }, ({ path }) => ({
      path: join(core, `${path.slice('@tensorflow/tfjs-core/'.length)}.js`),
    }));
  },
};

/** @returns {Promise<string>} where the bundle is. */
export async function bundle() {
  const folder = fileURLToPath(new URL('../../../node_modules/.cache/spft-conformance/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `tests-${process.pid}.cjs`);
  await build({
    stdin: { contents: ENTRY, resolveDir: dirname(fileURLToPath(import.meta.url)), loader: 'js' },
    bundle: true,
    outfile,
    platform: 'node',
    format: 'cjs',
    target: 'es2022',
    mainFields: ['module', 'main'],
    external: ['koffi', 'jasmine-core', 'jasmine-core/*'],
    banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
    define: { 'import.meta.url': 'importMetaUrl' },
    // The package says that nothing but its index has effects; its tests are effects.
    ignoreAnnotations: true,
    plugins: [resolveTfjs],
    logLevel: 'error',
  });
  return outfile;
}
