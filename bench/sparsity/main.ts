/**
 * @file `npm run bench:sparsity -- --backend wasm --shape base --rounds 9 --kernels --json FILE`: what a sparse step gains of what its FLOPs allow.
 * With SPFT_THREADS=1 the time on processors is that of the work alone.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { activateBackend } from '@spft/backends';
import { shapeNamed } from '../model/shapes.js';
import { environment } from '../support/environment.js';
import { withSparsity } from './asked-shape.js';
import { measureSparsity, sparsityTable } from './run.js';

const { values: flags } = parseArgs({
  options: {
    ...{ backend: { type: 'string' }, shape: { type: 'string', default: 'base' } },
    ...{ rounds: { type: 'string', default: '9' }, warmup: { type: 'string', default: '2' } },
    ...{ batch: { type: 'string' }, length: { type: 'string' }, context: { type: 'string', default: '0.75' } },
    ...{ layers: { type: 'string' }, mlp: { type: 'string' }, attention: { type: 'string' } },
    ...{ multiple: { type: 'string', default: '1' }, rank: { type: 'string', default: '32' } },
    ...{ predict: { type: 'boolean', default: false } },
    ...{ kernels: { type: 'boolean', default: false }, json: { type: 'string' }, note: { type: 'string' } },
  },
});

function whole(
  name: 'rounds' | 'warmup' | 'batch' | 'length' | 'rank' | 'multiple',
  least: number,
  otherwise?: number,
): number {
  const number = Number(flags[name] ?? otherwise);
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new RangeError(`--${name} is ${flags[name]}; wanted a whole number of at least ${least}`);
}

async function main(): Promise<void> {
  const shape = withSparsity(shapeNamed(flags.shape), flags);
  const context = Number(flags.context);
  if (!(context >= 0 && context < 1)) throw new RangeError(`--context is ${flags.context}; wanted at least 0, below 1`);
  const options = {
    ...{ shape, context, kernels: flags.kernels, predict: flags.predict },
    ...{ batch: whole('batch', 1, shape.batch), length: whole('length', 2, shape.length) },
    ...{ rounds: whole('rounds', 1), warmup: whole('warmup', 0), rank: whole('rank', 1) },
    channelMultiple: whole('multiple', 1),
  };
  const { name: backend, why } = await activateBackend(flags.backend);
  const where = environment(backend);
  const result = await measureSparsity({ ...options, backend });
  const threads = process.env.SPFT_THREADS ?? `${where.cores}`;
  console.log(`${why}; ${where.device}, ${threads} threads, load ${where.load}, Node ${where.node}, ${where.commit}`);
  console.log(`${shape.name}, ${result.tokens} tokens\n${sparsityTable(result)}`);
  const written = {
    ...{ benchmark: 'sparsity', environment: where, threads, note: flags.note ?? null, rounds: options.rounds },
    ...result,
  };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(written, null, 2)}\n`);
}

await main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
