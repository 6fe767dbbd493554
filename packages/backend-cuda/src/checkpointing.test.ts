/**
 * @file Gradient checkpointing on `cuda`: the bits of a step that keeps everything, in memory that grows by two inputs a layer, without the products
 * that only a layer's own result needs.
 */

import { getPeftModel } from '@spft/peft';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { LlamaForCausalLM } from '../../models/src/llama.js';
import {
  ALL_PROJECTIONS,
  fixedEstimator,
  lossAndGradients,
  plan,
  sourceOf,
  TINY,
  tinyBatch,
  tinyWeights,
} from '../../models/test/tiny.js';
import { cuda, describeCuda } from '../test/cuda.js';

const HIDDEN = 64;
const CONFIG = { ...TINY, hiddenSize: HIDDEN, intermediateSize: 256, headDim: 16 };
/** Prompts, and answers of one token: the loss takes little. */
const LENGTHS = [
  [30, 1],
  [31, 1],
] as const;
const TOKENS = 63;

interface Wanted {
  readonly layers?: number;
  readonly sparse?: boolean;
  readonly dora?: boolean;
  readonly targets?: readonly string[];
}

/** Loss, gradients, bytes beyond what lay there before, and products, of a step with and without. */
async function steps({ layers = 2, sparse = false, dora = false, targets = ALL_PROJECTIONS }: Wanted) {
  const model = await LlamaForCausalLM.fromWeights(
    { ...CONFIG, numHiddenLayers: layers },
    sourceOf(tinyWeights({ ...CONFIG, numHiddenLayers: layers })),
  );
  const peft = getPeftModel(model, { r: 4, targetModules: [...targets], useDora: dora, loraDropout: dora ? 0 : 0.1 });
  for (const [name, variable] of peft.variables)
    if (name.includes('lora_B')) tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 0.1, 'float32', 7)));
  if (sparse)
    model.setSparsity(plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]])));
  const batch = tinyBatch(LENGTHS);
  const { memoryPool } = cuda();
  const run = (gradientCheckpointing: boolean) => {
    lossAndGradients(model, batch, { gradientCheckpointing });
    memoryPool.resetPeak();
    const [bytes, { products }] = [memoryPool.bytes, cuda().launches];
    const result = lossAndGradients(model, batch, { gradientCheckpointing });
    return { result, bytes: memoryPool.peakBytes - bytes, products: cuda().launches.products - products };
  };
  const made = { plain: run(false), checkpointed: run(true) };
  model.setSparsity(null);
  peft.dispose();
  model.dispose();
  return made;
}

describeCuda('gradient checkpointing on cuda', () => {
  it.each([
    ['LoRA on all layers', {}],
    ['LoRA on all layers, sparse', { sparse: true }],
    ['LoRA on attention, sparse', { sparse: true, targets: ['q_proj', 'v_proj', 'o_proj'] }],
    ['DoRA', { dora: true }],
  ] satisfies [string, Wanted][])('gives the same bits: %s', async (_, wanted) => {
    const { plain, checkpointed } = await steps(wanted);
    expect(checkpointed.result).toEqual(plain.result);
  });

  it('makes neither o nor down again, as nobody reads what they give', async () => {
    const [two, four] = [
      await steps({ layers: 2, targets: ['q_proj'] }),
      await steps({ layers: 4, targets: ['q_proj'] }),
    ];
    const again = ({ plain, checkpointed }: typeof two) => checkpointed.products - plain.products;
    // q, k, v, gate, up, and two of the branch: h and h·Bᵀ, where that is a product of its own.
    expect((again(four) - again(two)) / 2).toBeLessThanOrEqual(7);
    expect((again(four) - again(two)) / 2).toBeGreaterThanOrEqual(5);
  });

  it('holds two inputs a layer and no more', async () => {
    const [few, many] = [
      await steps({ layers: 3, targets: ['q_proj'] }),
      await steps({ layers: 9, targets: ['q_proj'] }),
    ];
    const perLayer = (of: 'plain' | 'checkpointed') => (many[of].bytes - few[of].bytes) / 6;
    // float32, as the weights are.
    const input = 4 * TOKENS * HIDDEN;
    // Beside them the gradients of A and B [4, HIDDEN], which stay until the update, and what tfjs keeps of a small tensor.
    expect(perLayer('checkpointed')).toBeLessThan(2 * input + 4 * 2 * 4 * HIDDEN + 1024);
    expect(perLayer('checkpointed')).toBeGreaterThan(2 * input - 1024);
    expect(perLayer('plain')).toBeGreaterThan(8 * input);
  });
});
