/**
 * @file Whole runs of the trainer on a tiny Llama: SparseLoRA on `cuda` ends where it ends on the cpu, the same seed gives the same bits, and memory
 * is that of the first steps after 200.
 */
import { type BasePrecision, LlamaForCausalLM, type WeightSource } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { type Sample, Trainer } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { fixedEstimator, plan, TINY, tinyWeights } from '../../models/test/tiny.js';
import { bf16Bits, roundToBf16 } from '../test/compare.js';
import { cuda, describeCuda } from '../test/cuda.js';

const CONFIG = { ...TINY, hiddenSize: 32, intermediateSize: 48, headDim: 8, numHiddenLayers: 2 };
const STEPS = 200;

/** Weights of the config in bf16: the same numbers on every backend. */
function source(): WeightSource {
  const weights = tinyWeights(CONFIG);
  return {
    names: [...weights.keys()],
    entry: (name) => ({ dtype: 'BF16', shape: weights.get(name)!.shape }),
    float32: async (name) => weights.get(name)!.data.map(roundToBf16),
    bytes: async (name) => new Uint8Array(Uint16Array.from(weights.get(name)!.data, bf16Bits).buffer),
  };
}

/** The next token is 3·token + 1 modulo 37. */
const SAMPLES: readonly Sample[] = Array.from({ length: 24 }, (_, n) => {
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < 8) inputIds.push((inputIds.at(-1)! * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < 2 ? -100 : id)) };
});

interface Run {
  /** Mean loss of each ten steps. */
  readonly losses: readonly number[];
  readonly values: readonly Float32Array[];
  /** Bytes and tensors after each step; tensors alone on the cpu. */
  readonly memory: readonly (readonly number[])[];
}

async function run(
  backend: string,
  maxSteps: number,
  loraDropout = 0,
  basePrecision: BasePrecision = 'bf16',
): Promise<Run> {
  await useBackend(backend);
  const before = tf.memory().numTensors;
  const model = await LlamaForCausalLM.fromWeights(CONFIG, source(), { basePrecision });
  const peft = getPeftModel(model, {
    r: 4,
    loraAlpha: 8,
    loraDropout,
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
  });
  model.setSparsity(plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]])));
  const memory: number[][] = [];
  const trainer = new Trainer({
    model,
    samples: SAMPLES,
    denseTokens: (labels) => Uint8Array.from(labels, (label) => (label === -100 ? 0 : 1)),
    notify: () => {},
    args: {
      maxSteps,
      perDeviceTrainBatchSize: 4,
      learningRate: 0.01,
      lrSchedulerType: 'constant',
      loggingSteps: 10,
      seed: 3,
    },
    callbacks: [
      {
        onStepEnd: () => {
          const held = backend === 'cuda' ? [cuda().memoryPool.bytes, cuda().numDataIds()] : [];
          memory.push([tf.memory().numTensors, ...held]);
        },
      },
    ],
  });
  const { state } = await trainer.train();
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss as number] : []));
  const values = [...model.variables.values()].map((v) => v.dataSync() as Float32Array);
  model.setSparsity(null);
  peft.dispose();
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return { losses, values, memory };
}

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

describeCuda('training on cuda', () => {
  it('ends within noise of the same run on the cpu, and holds no more memory after 200 steps than after ten', {
    timeout: 300_000,
  }, async () => {
    const ours = await run('cuda', STEPS);
    const reference = await run('cpu', STEPS);
    await useBackend('cuda');
    expect(ours.losses).toHaveLength(STEPS / 10);
    const [first, last] = [mean(reference.losses.slice(0, 2)), mean(reference.losses.slice(-4))];
    expect(last).toBeLessThan(0.8 * first);
    // Single steps wander apart as bf16 rounds; the level does not.
    expect(Math.abs(mean(ours.losses.slice(0, 2)) - first)).toBeLessThan(0.02 * first);
    expect(Math.abs(mean(ours.losses.slice(-4)) - last)).toBeLessThan(0.05 * last);
    // All batches are of one size; losses are kept until they are logged, every ten steps.
    expect(ours.memory.slice(20)).toEqual(ours.memory.slice(10, -10));
  });

  it('with the base in FP8 learns what it learns in bf16, and holds no more memory after many steps than after ten', {
    timeout: 300_000,
  }, async () => {
    const steps = 120;
    const [ours, reference] = [await run('cuda', steps, 0, 'fp8'), await run('cuda', steps)];
    const last = mean(reference.losses.slice(-4));
    expect(last).toBeLessThan(0.85 * mean(reference.losses.slice(0, 2)));
    expect(Math.abs(mean(ours.losses.slice(-4)) - last)).toBeLessThan(0.05 * last);
    expect(ours.memory.slice(20)).toEqual(ours.memory.slice(10, -10));
    // All that it has less of than bf16 are the linear layers' weights.
    expect(ours.memory.at(-1)![1]!).toBeLessThan(reference.memory.at(-1)![1]!);
  });

  it('gives the same bits for the same seed, dropout included', { timeout: 120_000 }, async () => {
    const [once, twice] = [await run('cuda', 20, 0.1), await run('cuda', 20, 0.1)];
    expect(twice.losses).toEqual(once.losses);
    expect(twice.values).toEqual(once.values);
  });
});
