import { rmsNorm } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { BATCH, fixedEstimator, plan, tinyBatch, tinyModel } from '../test/tiny.js';
import type { LlamaForCausalLM } from './llama.js';

const OPTIONS = { training: false, seed: 0 };

/** The loss by single layers, all rows of the last one too. */
function lossByLayers(model: LlamaForCausalLM): tf.Scalar {
  const batch = tinyBatch(BATCH);
  const prepared = { layout: batch.layout, rows: model.recordable.rows(batch) };
  return tf.tidy(() => {
    let x = model.embed(prepared.rows.ids);
    for (let layer = 0; layer < model.layerCount; layer++) x = model.layerOutput(layer, x, prepared, OPTIONS);
    const rows = tf.gather(x, tf.tensor1d(prepared.rows.lossRows, 'int32')) as tf.Tensor2D;
    const normed = rmsNorm(rows, model.parts.norm, model.config.rmsNormEps);
    return tf.div(
      model.embeddingLayers.loss(normed, prepared.rows.lossLabels, { call: OPTIONS, labelSmoothing: 0 }),
      8,
    ) as tf.Scalar;
  });
}

describe.each(TEST_BACKENDS)('LlamaForCausalLM.layerOutput() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('is a layer of the step: one after the other they come to its loss, dense and sparse', async () => {
    const model = await tinyModel();
    const loss = () => model.loss(tinyBatch(BATCH), { ...OPTIONS, normalizer: 8 });
    const dense = loss();
    expectAllClose('dense', lossByLayers(model), dense);
    model.setSparsity(plan(fixedEstimator('gather')));
    const sparse = loss();
    expectAllClose('sparse', lossByLayers(model), sparse);
    expect(sparse.dataSync()[0]).not.toBeCloseTo(dense.dataSync()[0]!, 3);
    await expectNoLeak(() => lossByLayers(model).dispose());
    model.dispose();
  });
});
