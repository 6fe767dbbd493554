#!/usr/bin/env node
// Stands here uncompiled, so that npm can link the command in a clone before the first build.
import { existsSync } from 'node:fs';

const program = new URL('../dist/bin.js', import.meta.url);
if (existsSync(program)) await import(program.href);
else {
  console.error('error: spft is not built yet; run `npm run build` in the repository');
  process.exitCode = 1;
}
