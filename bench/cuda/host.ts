/**
 * @file `npm run bench:host`: what the host takes for a training step that it launches call by call, on the emulator of CUDA with calls that do nothing
 * (`SPFT_EMULATOR_IDLE`): the time of JavaScript and koffi. It is processor time of all threads, the garbage collector's and the compiler's among them, after as
 * many steps as V8 takes until it has compiled what a step runs. Ratios of one machine alone mean something.
 */
import { parseArgs } from 'node:util';
import '@spft/backend-cuda';
import type { CudaBackend } from '@spft/backend-cuda';
import { type PredictorSource, Predictors, predictedProjections, projectionShape } from '@spft/estimator';
import * as tf from '@tensorflow/tfjs';
import { aligned } from '../support/aligned.js';
import { quantiles } from '../support/quantiles.js';
import { profiled, sharesOf } from './host-profile.js';
import { randomLlama, rowBatch, SMOLLM2_135M } from './llama.js';
import { attach } from './method.js';
import { type Row, rowsNamed } from './rows.js';

const HELP = `Processor time of a training step that is launched call by call, without what the GPU and its driver take.

  --rows NAMES       of bench:cuda, with commas (default smollm2_lora,smollm2_sparselora)
  --steps N          measured (default 100), after
  --warmup N         that are not (default 300): V8 compiles the last of it about there
  --layers N         of the model (default 30)
  --profile FOLDER   writes ROW.cpuprofile of as many steps more, for Chrome's developer tools, and says what is whose`;

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string', default: 'smollm2_lora,smollm2_sparselora' },
    ...{ steps: { type: 'string', default: '100' }, warmup: { type: 'string', default: '300' } },
    ...{ layers: { type: 'string', default: '30' }, profile: { type: 'string' }, help: { type: 'boolean' } },
  },
});

/** Read when it runs: no build depends on it. */
const set = (name: string) => process.env[name];

/** In place of predictors of the weights, which are zeros here: a launch takes as long whatever it reads. */
const standIns: PredictorSource = async ({ host, layers, rank }) => {
  const projections = predictedProjections(layers).map((name) => {
    const [out, inputs] = projectionShape(name, host);
    return [name, { a: tf.ones([inputs, rank]), b: tf.ones([rank, out]) }] as const;
  });
  return new Predictors(rank, new Map(projections as never), null);
};

async function measure(backend: CudaBackend, row: Row): Promise<void> {
  const model = await randomLlama({ ...SMOLLM2_135M, numHiddenLayers: Number(flags.layers) });
  // Layers beyond the model's are none.
  const method = await attach(model, row, 'configs/sparsity', { predictors: standIns });
  const batch = rowBatch(model.config.vocabSize, row);
  const step = () => method.step(batch).dispose();
  const steps = Number(flags.steps);
  for (let n = 0; n < Number(flags.warmup); n++) step();
  const before = backend.launches;
  const [bytes, tensors] = [backend.memoryPool.bytes, tf.memory().numTensors];
  const taken: number[] = [];
  for (let n = 0; n < steps; n++) {
    const started = process.cpuUsage();
    step();
    const { user, system } = process.cpuUsage(started);
    taken.push((user + system) / 1000);
  }
  if (backend.memoryPool.bytes !== bytes || tf.memory().numTensors !== tensors)
    throw new Error(`bench: ${row.name} leaks: ${tf.memory().numTensors - tensors} tensors in ${steps} steps`);
  const { kernels, products } = backend.launches;
  const launches = (kernels + products - before.kernels - before.products) / steps;
  const { p20, p50, p80 } = quantiles(taken);
  const each = (ms: number) => ((1000 * ms) / launches).toFixed(1);
  console.log(
    `${row.name}: ${p50.toFixed(1)} ms of the host (${p20.toFixed(1)}–${p80.toFixed(1)}), ${launches} launches, ${each(p50)} µs each (${each(p20)})`,
  );
  if (flags.profile) {
    const shares = sharesOf(await profiled(`${flags.profile}/${row.name}.cpuprofile`, steps, step));
    console.log(aligned(shares.map(({ of, ms, share }) => [of, ms.toFixed(2), `${(100 * share).toFixed(1)} %`])));
  }
  method.dispose();
  model.dispose();
}

async function main(): Promise<void> {
  if (set('SPFT_EMULATOR_IDLE') !== '1' || set('SPFT_CUDA_GRAPHS') !== '0')
    throw new Error('bench: set SPFT_CUDA_PATH to the emulator, SPFT_EMULATOR_IDLE=1 and SPFT_CUDA_GRAPHS=0');
  if (!(await tf.setBackend('cuda'))) throw new Error("backend 'cuda' did not start; 'spft doctor' says why");
  for (const row of rowsNamed(flags.rows)) await measure(tf.backend() as CudaBackend, row);
}

if (flags.help) console.log(HELP);
else {
  await main().catch((error: Error) => {
    console.error(error.stack);
    process.exitCode = 1;
  });
}
