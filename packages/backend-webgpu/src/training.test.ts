/** @file Whole runs of the trainer on a tiny Llama: LoRA and SparseLoRA on `webgpu` go where they go on the cpu, and hold no more memory later on. */
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM, type WeightSource } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { bfloat16ToFloat32, float32ToBfloat16 } from '@spft/safetensors';
import type { StepRecorder, StepRecorderCounts } from '@spft/sparse-ops';
import { type Sample, SparsityStatistics, Trainer } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, it, vi } from 'vitest';
import { sourceOf, TINY, tinyWeights } from '../../models/test/tiny.js';
import { describeWebGPU, useWebGPU, webgpu } from '../test/webgpu.js';
import { WebGPUStepRecorder } from './recording/step-recorder.js';

const CONFIG = { ...TINY, hiddenSize: 32, intermediateSize: 48, headDim: 8, numHiddenLayers: 2 };

/** The next token is 3·token + 1 modulo 37. Sequences of two lengths. */
const SAMPLES: readonly Sample[] = Array.from({ length: 24 }, (_, n) => {
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < (n % 2 ? 8 : 6)) inputIds.push((inputIds.at(-1)! * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < 2 ? -100 : id)) };
});

/** A checkpoint in bf16. */
function sourceInBf16(): WeightSource {
  const weights = tinyWeights(CONFIG);
  const halvesOf = (name: string) => float32ToBfloat16(weights.get(name)!.data);
  return {
    names: [...weights.keys()],
    entry: (name) => ({ dtype: 'BF16', shape: weights.get(name)!.shape }),
    async float32(name) {
      const halves = halvesOf(name);
      const values = new Float32Array(halves.length);
      bfloat16ToFloat32(halves, values);
      return values;
    },
    bytes: async (name, from = 0, to) => new Uint8Array(halvesOf(name).buffer).slice(from, to),
  };
}

/** Bytes of the model's weights where matrices take so many for each number. */
const weightBytes = (ofMatrices: number) =>
  [...tinyWeights(CONFIG).values()].reduce(
    (sum, { shape, data }) => sum + data.length * (shape.length === 2 ? ofMatrices : 4),
    0,
  );

interface Run {
  readonly losses: readonly number[];
  readonly values: readonly Float32Array[];
  /** Bytes in use on the GPU, and tensors, at the end of each step. */
  readonly memory: readonly (readonly number[])[];
  /** How often channels were kept. */
  readonly kept: unknown;
  readonly counts: StepRecorderCounts | null;
  /** Bytes on the GPU that the model took, and what is left of all when it has ended. */
  readonly ofModel: number;
  readonly left: number;
}

interface How {
  /** Whether what is kept is counted. */
  readonly counts?: boolean;
  readonly records?: boolean;
  /** Of a checkpoint in bf16: whether its matrices are kept so. Left out: of one in float32. */
  readonly inHalves?: boolean;
  readonly useDora?: boolean;
}

async function run(
  backend: 'cpu' | 'webgpu',
  maxSteps: number,
  sparse: boolean,
  { counts: countsKept = sparse, records = true, inHalves, useDora = false }: How = {},
): Promise<Run> {
  if (backend === 'webgpu') await useWebGPU();
  else await tf.setBackend('cpu');
  // Counts of recorders end with them: the last that was seen.
  const recorders: StepRecorder[] = [];
  const record = vi.spyOn(webgpu(), 'recordSteps').mockImplementation((options) => {
    if (!records) return null;
    const made = new WebGPUStepRecorder(webgpu(), options);
    recorders.push(made);
    return made;
  });
  const before = tf.memory().numTensors;
  const gpuBytes = () => {
    if (backend !== 'webgpu') return 0;
    webgpu().flush();
    return webgpu().memory().numBytesInGPU;
  };
  const bytesBefore = gpuBytes();
  if (inHalves === false) webgpu().storesHalves = false;
  const source = inHalves === undefined ? sourceOf(tinyWeights(CONFIG)) : sourceInBf16();
  const model = await LlamaForCausalLM.fromWeights(CONFIG, source);
  webgpu().storesHalves = true;
  // Numbers that the host has are uploaded when they are first used.
  if (backend === 'webgpu') for (const { dataId } of new Set(model.tensors.values())) webgpu().uploadToGPU(dataId);
  const ofModel = gpuBytes() - bytesBefore;
  const peft = getPeftModel(model, {
    ...{ r: 4, loraAlpha: 8, loraDropout: 0.1, useDora },
    targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
  });
  const sparsity = { 'layers.0.mlp': 0.5, 'layers.1.mlp': 0.5, 'layers.1.self_attn': 0.5 };
  const config = SpftConfig.fromObject({ mode: 'svd_4', skip_output_tokens: true, sparsity });
  const spft = sparse ? await getSpftModel(peft, config) : null;
  const memory: number[][] = [];
  const statistics = spft && countsKept ? new SparsityStatistics(spft.plan, { every: 1 }) : null;
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
  record.mockRestore();
  const counts = recorders[0]?.counts ?? null;
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss as number] : []));
  const values: Float32Array[] = [];
  for (const variable of peft.variables.values()) values.push((await variable.data()) as Float32Array);
  spft?.dispose();
  peft.dispose();
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return { losses, values, memory, kept: statistics?.map(), counts, ofModel, left: gpuBytes() - bytesBefore };
}

describeWebGPU('training on webgpu', () => {
  afterAll(() => tf.setBackend('cpu'));

  it('gives recorded the bits of the same steps by the host, sparse too', { timeout: 200_000 }, async () => {
    const recorded = await run('webgpu', 16, true);
    const byHost = await run('webgpu', 16, true, { records: false });
    expect(recorded.counts!.replayed).toBeGreaterThan(8);
    expect(byHost.counts).toBeNull();
    expect(recorded.losses).toEqual(byHost.losses);
    expect(recorded.values).toEqual(byHost.values);
    expect(recorded.kept).toEqual(byHost.kept);
    const deaf = await run('webgpu', 16, true, { counts: false });
    expect(deaf.counts).toEqual(recorded.counts);
    expect(deaf.values).toEqual(recorded.values);
  });

  it.each([
    ['LoRA', {}],
    ['SparseLoRA', { sparse: true }],
    ['SparseLoRA by the host', { sparse: true, records: false }],
    ['DoRA by the host', { useDora: true, records: false, steps: 2 }],
  ] as const)(
    'gives the bits of float32 where the base lies in bf16, in half the memory: %s',
    { timeout: 200_000 },
    async (_, given) => {
      const { sparse, steps, ...how } = { sparse: false, steps: 8, records: true, ...given };
      const [halves, plain] = [
        await run('webgpu', steps, sparse, { ...how, counts: false, inHalves: true }),
        await run('webgpu', steps, sparse, { ...how, counts: false, inHalves: false }),
      ];
      expect([halves.ofModel, plain.ofModel]).toEqual([weightBytes(2), weightBytes(4)]);
      if (how.records) expect(halves.counts!.replayed).toBeGreaterThan(2);
      expect(halves.counts).toEqual(plain.counts);
      expect(halves.losses).toEqual(plain.losses);
      expect(halves.values).toEqual(plain.values);
      expect([halves.left, plain.left]).toEqual([0, 0]);
    },
  );

  it.each(['F32', 'BF16'])(
    'trains the head in full, in memory of its own, of %s',
    { timeout: 100_000 },
    async (type) => {
      await useWebGPU();
      const source = type === 'F32' ? sourceOf(tinyWeights(CONFIG)) : sourceInBf16();
      const model = await LlamaForCausalLM.fromWeights(CONFIG, source);
      const head = model.embeddings.output!;
      const peft = getPeftModel(model, { r: 4, targetModules: ['q_proj'], extra: { modules_to_save: ['lm_head'] } });
      const name = [...peft.variables.keys()].find((key) => key.includes('lm_head'))!;
      const trained = peft.variables.get(name)!;
      const before = await head.weight.data();
      expect(await trained.data()).toEqual(before);
      const trainer = new Trainer({
        model: peft,
        samples: SAMPLES,
        notify: () => {},
        args: { maxSteps: 2, perDeviceTrainBatchSize: 4, learningRate: 0.01, seed: 3 },
      });
      await trainer.train();
      expect(await trained.data()).not.toEqual(before);
      expect(await head.weight.data()).toEqual(before);
      peft.dispose();
      model.dispose();
    },
  );

  it.each([false, true])('goes where it goes on the cpu, sparse: %s', { timeout: 200_000 }, async (sparse) => {
    const ours = await run('webgpu', 18, sparse);
    const reference = await run('cpu', 18, sparse);
    expect(ours.losses).toHaveLength(18);
    expect(ours.counts!.replayed).toBeGreaterThan(9);
    ours.losses.forEach((loss, n) => {
      expect(Math.abs(loss - reference.losses[n]!), `step ${n + 1}`).toBeLessThan(2e-4 * reference.losses[n]!);
    });
    ours.values.forEach((values, n) => {
      const error = Math.hypot(...values.map((value, i) => value - reference.values[n]![i]!));
      expect(error, `variable ${n}`).toBeLessThan(2e-2 * Math.hypot(...reference.values[n]!));
    });
    expect(ours.kept).toEqual(reference.kept);
    // What the first steps hold, all hold; batches are of two sizes, and both are recorded by then.
    expect(new Set(ours.memory.slice(9).map((held) => held.join())).size).toBeLessThanOrEqual(2);
    expect(Math.max(...ours.memory.slice(9).map(([, , bytes]) => bytes!))).toBeLessThanOrEqual(
      Math.max(...ours.memory.slice(0, 9).map(([, , bytes]) => bytes!)),
    );
  });
});
