/**
 * @file Whole models in 4 bits on this backend, by the suites of `@spft/models`: QLoRA against the golden values of bitsandbytes and PEFT, dense, sparse and with DoRA,
 * what is read, written, merged and generated. Weights are float32 here, as the golden values are; how far bf16 is from float32 is what the
 * benchmark's verification measures (test/bench-cuda.test.ts runs it on small shapes).
 */

import { beforeAll, expect, it, vi } from 'vitest';
import { LlamaForCausalLM } from '../../../models/src/llama.js';
import { sparseQloraSuite } from '../../../models/test/four-bit-sparsity-suite.js';
import { fourBitSuite } from '../../../models/test/four-bit-suite.js';
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
} from '../../../models/test/tiny.js';
import { cuda, describeCuda } from '../../test/cuda.js';

// The first to run compiles nearly every kernel, which takes the emulator a minute and more where others compute too.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

// Before the backend is made, which asks once.
process.env.SPFT_CUDA_PRECISION = 'float32';

describeCuda('a model in 4 bits', () => {
  beforeAll(() => {
    if (cuda().weightType !== 'f32') throw new Error('test: the backend was made before its precision was set');
  });
  fourBitSuite('cuda');
});

describeCuda('SparseQLoRA', () => {
  sparseQloraSuite('cuda');

  it('unpacks the kept rows and columns alone of a sparse layer', async () => {
    const config = { ...TINY, hiddenSize: 64, intermediateSize: 128, headDim: 16, numHiddenLayers: 2 };
    const model = await LlamaForCausalLM.fromWeights(config, sourceOf(tinyWeights(config)), { basePrecision: 'nf4' });
    attachAdapters(model, ['q_proj', 'o_proj']);
    const launches = (sparse: boolean) => {
      model.setSparsity(
        sparse ? plan(fixedEstimator('gather'), 'corrected', new Map([[1, { mlp: 0.5, selfAttn: 0.5 }]])) : null,
      );
      const profile = cuda().profile(() => void lossAndGradients(model, tinyBatch(BATCH, false)));
      return Object.fromEntries(
        profile.filter(({ name }) => /unpack/.test(name)).map(({ name, calls }) => [name, calls]),
      );
    };
    const [dense, sparse] = [launches(false), launches(true)];
    expect(Object.keys(dense)).toEqual(['unpack_4bit']);
    // Of layer 1's seven matrices nothing is unpacked whole any more, neither forward nor backward.
    expect(sparse.unpack_4bit).toBe(dense.unpack_4bit! - 14);
    expect(sparse.unpack_4bit_rows! + sparse.unpack_4bit_columns!).toBeGreaterThan(7);
    model.setSparsity(null);
    for (const { adapter, name } of model.linears.values()) {
      model.setAdapter(name, null);
      adapter?.dispose();
    }
    model.dispose();
  });
});
