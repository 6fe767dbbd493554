/**
 * @file `npm run bench:products -- --rounds 21 --json FILE`: matrix products through tfjs on `blas` beside the same library called directly on
 * the same memory with threads of its own, and beside wasm.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { activateBackend } from '@spft/backends';
import { environment } from '../support/environment.js';
import { productTable, runProducts } from './run.js';

const { values: flags } = parseArgs({
  options: {
    ...{ rounds: { type: 'string', default: '21' }, json: { type: 'string' }, note: { type: 'string' } },
    'no-wasm': { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  const rounds = Number(flags.rounds);
  if (!(Number.isSafeInteger(rounds) && rounds >= 1)) {
    throw new RangeError(`--rounds is ${flags.rounds}; wanted a whole number of at least 1`);
  }
  const { why } = await activateBackend('blas');
  console.error(why);
  const where = environment('blas');
  const products = await runProducts({ rounds, wasm: !flags['no-wasm'] });
  console.log(`${why}; ${where.device}, Node ${where.node}`);
  console.log(productTable(products));
  const result = {
    benchmark: 'products',
    environment: where,
    library: why,
    note: flags.note ?? null,
    rounds,
    products,
  };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
}

await main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
