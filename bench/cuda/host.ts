/**
 * @file `npm run bench:host`: what the host takes for a training step that it launches call by call, on the emulator of CUDA with launches that do nothing
 * (`SPFT_EMULATOR_IDLE`): the time of JavaScript, koffi and a small driver. Ratios of one machine alone mean something.
 * `node --cpu-prof` on what it bundles says where the time goes.
 */
import { parseArgs } from 'node:util';
import '@spft/backend-cuda';
import type { CudaBackend } from '@spft/backend-cuda';
import * as tf from '@tensorflow/tfjs';
import { quantiles } from '../support/quantiles.js';
import { randomLlama, rowBatch, SMOLLM2_135M } from './llama.js';
import { attach } from './method.js';
import { rowsNamed } from './rows.js';

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string', default: 'smollm2_lora,smollm2_sparselora' },
    ...{ steps: { type: 'string', default: '30' }, warmup: { type: 'string', default: '10' } },
    layers: { type: 'string', default: '30' },
  },
});

/** Read when it runs: no build depends on it. */
const set = (name: string) => process.env[name];

async function main(): Promise<void> {
  if (set('SPFT_EMULATOR_IDLE') !== '1' || set('SPFT_CUDA_GRAPHS') !== '0')
    throw new Error('bench: set SPFT_CUDA_PATH to the emulator, SPFT_EMULATOR_IDLE=1 and SPFT_CUDA_GRAPHS=0');
  if (!(await tf.setBackend('cuda'))) throw new Error("backend 'cuda' did not start; 'spft doctor' says why");
  const backend = tf.backend() as CudaBackend;
  const model = await randomLlama({ ...SMOLLM2_135M, numHiddenLayers: Number(flags.layers) });
  for (const row of rowsNamed(flags.rows)) {
    // Layers beyond the model's are none.
    const method = await attach(model, row, 'configs/sparsity');
    const batch = rowBatch(model.config.vocabSize, row);
    const step = () => method.step(batch).dispose();
    for (let n = 0; n < Number(flags.warmup); n++) step();
    const before = backend.launches;
    const taken: number[] = [];
    for (let n = 0; n < Number(flags.steps); n++) {
      const started = process.cpuUsage();
      step();
      const { user, system } = process.cpuUsage(started);
      taken.push((user + system) / 1000);
    }
    const { kernels, products } = backend.launches;
    const launches = (kernels + products - before.kernels - before.products) / taken.length;
    const { p20, p50, p80 } = quantiles(taken);
    const each = ((1000 * p50) / launches).toFixed(1);
    console.log(
      `${row.name}: ${p50.toFixed(1)} ms of the host (${p20.toFixed(1)}–${p80.toFixed(1)}), ${launches} launches, ${each} µs each`,
    );
    method.dispose();
  }
  model.dispose();
}

await main().catch((error: Error) => {
  console.error(error.stack);
  process.exitCode = 1;
});
