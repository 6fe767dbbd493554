/** @file Loss and gradients of a small model on the backend that is timed, against the plain backend `cpu`. */
import * as tf from '@tensorflow/tfjs';
import { rowBatch } from '../cuda/llama.js';
import { attach } from '../cuda/method.js';
import type { Row } from '../cuda/rows.js';
import { randomModel } from '../model/random-model.js';
import { shapeNamed } from '../model/shapes.js';

type VerifiedRow = Pick<Row, 'dora' | 'sparsity'>;

async function lossAndGradients(backend: string, row: VerifiedRow): Promise<Map<string, Float32Array>> {
  await tf.setBackend(backend);
  const model = await randomModel(shapeNamed('tiny'));
  const small =
    row.sparsity === null ? null : { mode: 'svd_4', skip_output_tokens: true, sparsity: { 'layers.0.mlp': 0.5 } };
  const method = await attach(model, { ...row, sparsity: small }, 'configs/sparsity');
  const batch = rowBatch(64, { batch: 2, length: 40, labelled: 10, sparsity: small as null });
  const { loss, gradients } = method.gradients(batch);
  const read = new Map<string, Float32Array>();
  for (const [name, tensor] of [['loss', loss] as const, ...gradients]) {
    read.set(name, (await tensor.data()) as Float32Array);
    tensor.dispose();
  }
  method.dispose();
  model.dispose();
  return read;
}

/** @throws Error where one is off by more than rounding. */
export async function verify(backend: string, row: VerifiedRow): Promise<void> {
  const expected = await lossAndGradients('cpu', row);
  const found = await lossAndGradients(backend, row);
  for (const [name, values] of expected) {
    const other = found.get(name)!;
    let [error, norm] = [0, 0];
    values.forEach((value, n) => {
      error += (other[n]! - value) ** 2;
      norm += value ** 2;
    });
    // cuda holds the weights in float here and multiplies in TF32.
    const tolerance = backend === 'cuda' ? 5e-3 : 1e-3;
    if (!(Math.sqrt(error) <= tolerance * Math.sqrt(norm) + 1e-6)) {
      throw new Error(`${backend}: ${name} is off by ${Math.sqrt(error / norm)} of its size`);
    }
  }
}
