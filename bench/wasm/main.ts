/**
 * @file `npm run bench:wasm -- --rounds 11 --shape base --json FILE`: the wasm backend by tfjs's products and by ours, with SIMD and relaxed SIMD, on one
 * thread and on all cores: products, and steps of LoRA and SparseLoRA.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { activateBackend } from '@spft/backends';
import { shapeNamed } from '../model/shapes.js';
import { environment } from '../support/environment.js';
import { timeProducts, timeSteps, wasmTable } from './run.js';
import { settingsFor } from './settings.js';

const { values: flags } = parseArgs({
  options: {
    ...{ rounds: { type: 'string', default: '11' }, shape: { type: 'string', default: 'base' } },
    ...{ json: { type: 'string' }, note: { type: 'string' } },
  },
});

async function main(): Promise<void> {
  const rounds = Number(flags.rounds);
  if (!(Number.isSafeInteger(rounds) && rounds >= 1)) {
    throw new RangeError(`--rounds is ${flags.rounds}; wanted a whole number of at least 1`);
  }
  const shape = shapeNamed(flags.shape);
  const { why } = await activateBackend('wasm');
  const where = environment('wasm');
  const settings = settingsFor(Number(process.env.SPFT_THREADS) || availableParallelism());
  const products = timeProducts(settings, rounds);
  const { batch, length } = shape;
  const steps = await timeSteps(settings, { shape, batch: { batch, length, context: 0.75 }, rounds });
  console.log(`${why}; ${where.device}, ${where.cores} cores, load ${where.load}, Node ${where.node}`);
  console.log(wasmTable(settings, products, steps));
  const result = {
    ...{ benchmark: 'wasm', environment: where, note: flags.note ?? null, shape: shape.name, rounds },
    ...{ settings, products, steps },
  };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(result, null, 2)}\n`);
}

await main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
