import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import LongestFirst from './test/support/longest-first.js';

/** Tests run on the TypeScript sources: `@spft/x` and `@spft/x/node` resolve to `packages/x/src`, so no build is needed while working. */
const root = fileURLToPath(new URL('.', import.meta.url));
const packages = `${root}packages/`;

/**
 * Folders whose test files share a process, one after the other: more than half of what a short file takes is tfjs and our sources, loaded anew. A file is
 * given a process of its own where it says `@own-process` and why, mocks modules, or changes what is registered with tfjs. Where the ops' tests run on
 * `cuda` all files have one: a kernel that fails takes CUDA away from its process.
 */
const SHARED = [
  ...[
    'config',
    'gguf',
    'safetensors',
    'sparse-ops',
    'estimator',
    'peft',
    'models',
    'trainer',
    'distributed',
    'cli',
  ].map((name) => `packages/${name}/src`),
  'examples/browser/src',
];
const APART = /@own-process|\bvi\.(doM|m)ock\(|\btf\.(register|unregister|remove)(Kernel|Backend|Gradient)\(/;
const onCuda = (process.env.SPFT_TEST_BACKENDS ?? '').split(',').includes('cuda');

const shared = (onCuda ? [] : SHARED).flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `${folder}/${name}`)
    .filter((file) => !APART.test(readFileSync(join(root, file), 'utf8'))),
);

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@spft\/([a-z-]+)$/, replacement: `${packages}$1/src/index.ts` },
      { find: /^@spft\/([a-z-]+)\/([a-z-]+)$/, replacement: `${packages}$1/src/$2/index.ts` },
    ],
  },
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One less is the default, which leaves one of two cores idle.
    maxWorkers: availableParallelism(),
    reporters: ['default', './test/closing-line.ts'],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'own',
          include: ['packages/*/{src,test,emulator}/**/*.test.ts', 'examples/*/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['**/node_modules/**', ...shared],
        },
      },
      {
        extends: true,
        test: {
          name: 'shared',
          include: shared,
          isolate: false,
          setupFiles: ['./test/support/shared-process.ts'],
        },
      },
    ],
  },
});
