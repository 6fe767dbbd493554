/** @file SparseQLoRA: what is chosen and computed on weights in 4 bits is what is chosen and computed on their dequantised values, with less unpacked. */
import { SpftConfig } from '@spft/config';
import { type Calibration, calibratedPredictors, getSpftModel, type SelectionListener } from '@spft/estimator';
import { getPeftModel } from '@spft/peft';
import { formOf, storedMatrixOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { useBackend } from '../../../test/support/backends.js';
import { LlamaForCausalLM } from '../src/llama.js';
import type { LlamaConfig } from '../src/llama-config.js';
import type { WeightSource } from '../src/types.js';
import {
  attachAdapters,
  BATCH,
  fixedEstimator,
  lossAndGradients,
  plan,
  sourceOf,
  TINY,
  tinyBatch,
  tinyWeights,
} from './tiny.js';

const CONFIG: LlamaConfig = {
  ...TINY,
  ...{ hiddenSize: 64, intermediateSize: 128, headDim: 16, numHiddenLayers: 2 },
};
const LORA = { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };

const quantised = (type: 'nf4' | 'fp4' = 'nf4') =>
  LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)), {
    basePrecision: type,
    doubleQuantisation: true,
  });

/** The same numbers as plain weights. */
function dequantised(model: LlamaForCausalLM): Promise<LlamaForCausalLM> {
  const weights = new Map(
    [...model.tensors].map(([name, t]) => [name, { shape: t.shape, data: t.dataSync() as Float32Array }]),
  );
  const source: WeightSource = sourceOf(weights);
  return LlamaForCausalLM.fromWeights(CONFIG, source);
}

const sparsity = (mode: string, mlp = 0.6, attention = 0.5) =>
  SpftConfig.fromObject({ mode, sparsity: { 'layers.1.mlp': mlp, 'layers.1.self_attn': attention } });

/** One step's loss, gradients and choices. */
async function step(model: LlamaForCausalLM, mode: string | null, { mlp = 0.6, attention = 0.5 } = {}) {
  const peft = getPeftModel(model, LORA, { seed: 3 });
  for (const variable of peft.variables.values()) {
    tf.tidy(() =>
      variable.assign(
        tf.tensor(
          Float32Array.from({ length: variable.size }, (_, n) => 0.1 * Math.sin(n + 1)),
          variable.shape,
        ),
      ),
    );
  }
  const chosen: number[][] = [];
  const listener: SelectionListener = ({ selection }) =>
    void chosen.push([...(selection.indices.dataSync() as Int32Array)]);
  const spft = mode === null ? null : await getSpftModel(peft, sparsity(mode, mlp, attention), { listener });
  const result = lossAndGradients(model, tinyBatch(BATCH));
  spft?.dispose();
  peft.dispose();
  return { ...result, chosen };
}

type Result = Awaited<ReturnType<typeof step>>;

function expectSame(actual: Result, expected: Result): void {
  expect(actual.chosen).toEqual(expected.chosen);
  expectAllClose('loss', actual.loss, expected.loss);
  for (const [name, gradient] of expected.gradients) {
    expectAllClose(name, actual.gradients.get(name)!, gradient, TOLERANCE.gradient);
  }
}

/** The suite, inside of a `describe`. */
export function sparseQloraSuite(backend: string): void {
  beforeAll(() => useBackend(backend));

  it.each(['svd_4', 'oracle_wanda_ffn_l2norm', 'oracle_norm_ffn_attention_norm'])(
    'chooses the channels of the dequantised model by %s, and computes the same',
    async (mode) => {
      const before = tf.memory().numTensors;
      const model = await quantised();
      const plain = await dequantised(model);
      const [ours, theirs] = [await step(model, mode), await step(plain, mode)];
      expect(ours.chosen.length).toBeGreaterThan(0);
      expectSame(ours, theirs);
      expect(new Set([...model.linears.values()].map(({ weight }) => formOf(weight)))).toEqual(new Set(['nf4']));
      model.dispose();
      plain.dispose();
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  it('chooses other channels than of the weights before quantisation: predictors are of what is computed with', async () => {
    const model = await quantised('fp4');
    const original = await LlamaForCausalLM.fromWeights(CONFIG, sourceOf(tinyWeights(CONFIG)));
    expect((await step(model, 'svd_4')).chosen).not.toEqual((await step(original, 'svd_4')).chosen);
    model.dispose();
    original.dispose();
  });

  it('fits predictors to data by the dequantised weights', async () => {
    const model = await quantised();
    const plain = await dequantised(model);
    const inputs = tf.randomNormal([40, 64], 0, 1, 'float32', 4) as tf.Tensor2D;
    const calibration: Calibration = {
      ...{ tokens: 40, data: 'test', dispose: () => {} },
      inputs: new Map([
        ['model.layers.1.mlp', inputs],
        ['model.layers.1.self_attn', inputs],
      ]),
      norms: new Map(),
    };
    const layers = new Map([[1, { mlp: true, selfAttn: true }]]);
    const [ours, theirs] = [
      await calibratedPredictors(model, layers, 4, calibration),
      await calibratedPredictors(plain, layers, 4, calibration),
    ];
    for (const [name, { a }] of theirs.projections)
      expectAllClose(name, ours.projections.get(name)!.a, a.dataSync(), { relative: 1e-3, absolute: 1e-5 });
    expect(new Set([...model.linears.values()].map(({ weight }) => formOf(weight)))).toEqual(new Set(['nf4']));
    ours.dispose();
    theirs.dispose();
    tf.dispose(inputs);
    model.dispose();
    plain.dispose();
  });

  it('is dense QLoRA at sparsity 0', async () => {
    const model = await quantised();
    expectSame({ ...(await step(model, 'svd_4', { mlp: 0, attention: 0 })), chosen: [] }, await step(model, null));
    model.dispose();
  });

  it.each([true, false])('gives the same whether channels are gathered or masked, answers dense: %s', async (split) => {
    const model = await quantised();
    attachAdapters(model, ['o_proj', 'down_proj']);
    const layers = new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]]);
    const run = (applies: 'gather' | 'mask') => {
      model.setSparsity(plan(fixedEstimator(applies), 'corrected', layers));
      return { ...lossAndGradients(model, tinyBatch(BATCH, split)), chosen: [] };
    };
    expectSame(run('gather'), run('mask'));
    model.setSparsity(null);
    for (const { adapter, name } of model.linears.values()) {
      model.setAdapter(name, null);
      adapter?.dispose();
    }
    model.dispose();
  });

  it('unpacks the kept rows and columns alone where every row is sparse', async () => {
    const model = await quantised();
    const peft = getPeftModel(model, LORA, { seed: 3 });
    const spft = await getSpftModel(peft, sparsity('svd_4', 0.75, 0.5));
    const unpacked = { whole: 0, part: 0 };
    const kernels = [
      'SpftUnpack4bit',
      'SpftUnpack4bitRows',
      'SpftUnpack4bitColumns',
      'SpftLinear4bit',
      'SpftLinear4bitGrad',
    ];
    const configs = kernels.flatMap((name) => tf.getKernel(name, backend) ?? []);
    const originals = configs.map(({ kernelFunc }) => kernelFunc);
    configs.forEach((config, n) => {
      (config as { kernelFunc: tf.KernelFunc }).kernelFunc = (call) => {
        const made = originals[n]!(call);
        const { out, in: inputs } = call.attrs as { out?: number; in?: number };
        const size = [made].flat().reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
        if (/Rows|Columns/.test(config.kernelName)) unpacked.part += size;
        else unpacked.whole += (out ?? 0) * (inputs ?? 0);
        return made;
      };
    });
    try {
      lossAndGradients(model, tinyBatch(BATCH, false));
    } finally {
      configs.forEach((config, n) => {
        (config as { kernelFunc: tf.KernelFunc }).kernelFunc = originals[n]!;
      });
    }
    const [H, I, kv] = [64, 128, 32];
    const [ofAttention, ofMlp] = [2 * H * H + 2 * H * kv, 3 * H * I];
    // Layer 1 alone is sparse: of each of its matrices half or a quarter, forward and backward. Layer 0 is dense, and its input needs no gradient.
    const kept = 0.5 * ofAttention + 0.25 * ofMlp;
    // A backend with a form of its own unpacks within it, and tells of that in its own tests.
    if (configs.length > 0 && [...model.linears.values()].every(({ weight }) => storedMatrixOf(weight))) {
      expect(unpacked.part).toBe(2 * kept);
      expect(unpacked.whole).toBeLessThanOrEqual(2 * (ofAttention + ofMlp));
    }
    spft.dispose();
    peft.dispose();
    model.dispose();
  });
}
