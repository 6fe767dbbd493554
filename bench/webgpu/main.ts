/**
 * @file `npm run bench:webgpu -- --json FILE`: milliseconds of a LoRA step of SmolLM2-135M's shape with random weights, on WebGPU, and beside it on
 * other backends of this machine, each in a process of its own. The backend is verified on a small model before it is timed.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { environment } from '../support/environment.js';
import { measure } from './measure.js';

const HELP = `A LoRA step of SmolLM2-135M's shape, 512 tokens of which 128 are labelled, r 32 on q, k, v and o.

  --backends LIST    of webgpu, cuda, blas, wasm (default webgpu)
  --steps N          timed steps (default 20), --warmup N steps before (default 5)
  --length N         tokens of the sequence (default 512)
  --layers N         layers of the model (default 30), --vocabulary N (default 49152), for trying things
  --sparse           SparseLoRA instead: MLPs of layers 2 to 27 at 0.75
  --bf16             weights rounded to bf16, which webgpu then keeps in 16 bits; --bf16_as_float32 the same numbers in float32
  --no_verify        skips the verification
  --json FILE        writes the result`;

const { values: flags } = parseArgs({
  options: {
    ...{ backends: { type: 'string', default: 'webgpu' }, one: { type: 'string' } },
    ...{ steps: { type: 'string', default: '20' }, warmup: { type: 'string', default: '5' } },
    ...{ length: { type: 'string', default: '512' }, layers: { type: 'string', default: '30' } },
    ...{ vocabulary: { type: 'string', default: '49152' }, sparse: { type: 'boolean', default: false } },
    ...{ bf16: { type: 'boolean', default: false }, bf16_as_float32: { type: 'boolean', default: false } },
    ...{ no_verify: { type: 'boolean', default: false }, json: { type: 'string' }, help: { type: 'boolean' } },
  },
});

const [steps, warmup, length, layers, vocabulary] = [
  flags.steps,
  flags.warmup,
  flags.length,
  flags.layers,
  flags.vocabulary,
].map(Number) as [number, number, number, number, number];

/** Each backend in a process, as memory and compiled code of one shall not be another's. */
function inTurn(): void {
  const results = flags.backends!.split(',').map((backend) => {
    const file = join(tmpdir(), `spft-bench-webgpu-${process.pid}-${backend}.json`);
    const others = process.argv
      .slice(2)
      .filter((flag, n, all) => !/^--(backends|json)/.test(flag) && !/^--(backends|json)$/.test(all[n - 1] ?? ''));
    const args = [...process.execArgv, fileURLToPath(import.meta.url), ...others, '--one', backend, '--json', file];
    const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' });
    return status === 0 ? (JSON.parse(readFileSync(file, 'utf8')) as object) : { backend, failed: status };
  });
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
  if (results.some((result) => 'failed' in result)) process.exitCode = 1;
}

async function main(): Promise<void> {
  if (flags.help) console.log(HELP);
  else if (!flags.one) inTurn();
  else {
    const { sparse, no_verify, bf16, bf16_as_float32 } = flags;
    const weights = bf16 ? 'bf16' : bf16_as_float32 ? 'bf16 as float32' : 'float32';
    const shape = { length, layers, vocabulary, sparse, weights } as const;
    const result = await measure(flags.one, { steps, warmup, ...shape, verify: !no_verify });
    const whole = { ...environment(flags.one), ...result };
    console.log(JSON.stringify(whole, null, 2));
    if (flags.json) writeFileSync(flags.json, JSON.stringify(whole));
    // Dawn's instance would keep the process.
    process.exit();
  }
}

await main();
