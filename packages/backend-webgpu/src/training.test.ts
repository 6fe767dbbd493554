/** @file Whole runs of the trainer on a tiny Llama: LoRA and SparseLoRA on `webgpu` go where they go on the cpu, and hold no more memory later on. */
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { type Sample, SparsityStatistics, Trainer } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, it } from 'vitest';
import { sourceOf, TINY, tinyWeights } from '../../models/test/tiny.js';
import { describeWebGPU, useWebGPU, webgpu } from '../test/webgpu.js';

const CONFIG = { ...TINY, hiddenSize: 32, intermediateSize: 48, headDim: 8, numHiddenLayers: 2 };

/** The next token is 3·token + 1 modulo 37. Sequences of two lengths. */
const SAMPLES: readonly Sample[] = Array.from({ length: 24 }, (_, n) => {
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < (n % 2 ? 8 : 6)) inputIds.push((inputIds.at(-1)! * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < 2 ? -100 : id)) };
});

interface Run {
  readonly losses: readonly number[];
  readonly values: readonly Float32Array[];
  /** Bytes in use on the GPU, and tensors, at the end of each step. */
  readonly memory: readonly (readonly number[])[];
  /** How often channels were kept. */
  readonly kept: unknown;
}

async function run(backend: 'cpu' | 'webgpu', maxSteps: number, sparse: boolean): Promise<Run> {
  if (backend === 'webgpu') await useWebGPU();
  else await tf.setBackend('cpu');
  const before = tf.memory().numTensors;
  const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)));
  const peft = getPeftModel(model, {
    ...{ r: 4, loraAlpha: 8, loraDropout: 0.1 },
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
  });
  const sparsity = { 'layers.0.mlp': 0.5, 'layers.1.mlp': 0.5, 'layers.1.self_attn': 0.5 };
  const config = SpftConfig.fromObject({ mode: 'svd_4', skip_output_tokens: true, sparsity });
  const spft = sparse ? await getSpftModel(peft, config) : null;
  const memory: number[][] = [];
  const statistics = spft ? new SparsityStatistics(spft.plan, { every: 1 }) : null;
  const trainer = new Trainer({
    model: spft ?? peft,
    samples: SAMPLES,
    notify: () => {},
    args: {
      ...{ maxSteps, perDeviceTrainBatchSize: 4, learningRate: 0.01, lrSchedulerType: 'constant' },
      ...{ loggingSteps: 1, seed: 3 },
    },
    callbacks: [
      ...(statistics ? [statistics] : []),
      {
        onStepEnd() {
          if (backend !== 'webgpu') return;
          webgpu().flush();
          memory.push([tf.memory().numTensors, webgpu().numDataIds(), webgpu().memory().numBytesInGPU]);
        },
      },
    ],
  });
  const { state } = await trainer.train();
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss as number] : []));
  const values: Float32Array[] = [];
  for (const variable of peft.variables.values()) values.push((await variable.data()) as Float32Array);
  spft?.dispose();
  peft.dispose();
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return { losses, values, memory, kept: statistics?.map() };
}

describeWebGPU('training on webgpu', () => {
  afterAll(() => tf.setBackend('cpu'));

  it.each([false, true])('goes where it goes on the cpu, sparse: %s', { timeout: 200_000 }, async (sparse) => {
    const ours = await run('webgpu', 12, sparse);
    const reference = await run('cpu', 12, sparse);
    expect(ours.losses).toHaveLength(12);
    ours.losses.forEach((loss, n) => {
      expect(Math.abs(loss - reference.losses[n]!), `step ${n + 1}`).toBeLessThan(2e-4 * reference.losses[n]!);
    });
    ours.values.forEach((values, n) => {
      const error = Math.hypot(...values.map((value, i) => value - reference.values[n]![i]!));
      expect(error, `variable ${n}`).toBeLessThan(2e-2 * Math.hypot(...reference.values[n]!));
    });
    expect(ours.kept).toEqual(reference.kept);
    // What the first steps hold, all hold; batches are of two sizes.
    expect(new Set(ours.memory.slice(6).map((held) => held.join())).size).toBeLessThanOrEqual(2);
    expect(Math.max(...ours.memory.slice(6).map(([, , bytes]) => bytes!))).toBeLessThanOrEqual(
      Math.max(...ours.memory.slice(0, 6).map(([, , bytes]) => bytes!)),
    );
  });
});
