import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Tests run on the TypeScript sources: `@spft/x` and `@spft/x/node` resolve to `packages/x/src`, so no build is needed while working. */
const packages = fileURLToPath(new URL('packages/', import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@spft\/([a-z-]+)$/, replacement: `${packages}$1/src/index.ts` },
      { find: /^@spft\/([a-z-]+)\/([a-z-]+)$/, replacement: `${packages}$1/src/$2/index.ts` },
    ],
  },
  test: {
    include: ['packages/*/{src,test,emulator}/**/*.test.ts', 'examples/*/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One less is the default, which leaves one of two cores idle.
    maxWorkers: availableParallelism(),
    reporters: ['default', './test/closing-line.ts'],
  },
});
