/** @file A sparse linear layer on the backend, forward and backward, with our kernel and without. */
import { linearKeptRows, topKSelection } from '@spft/sparse-ops';
import { withoutKernels } from '@spft/sparse-ops/backend';
import { kernelsOf } from '@spft/sparse-ops/conformance';
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, registerMyBackend } from './backend.js';

/** Runs it and says what came of it, a line for each thing. */
export async function run(say: (line: string) => void): Promise<void> {
  registerMyBackend();
  await tf.setBackend(BACKEND_NAME);
  say(`backend ${tf.getBackend()}, kernels of its own: ${kernelsOf(BACKEND_NAME).join(', ')}`);
  tf.tidy(() => {
    const random = (rows: number, columns: number, seed: number) =>
      tf.randomNormal([rows, columns], 0, 1, 'float32', seed) as tf.Tensor2D;
    const [x, weight] = [random(8, 32, 1), random(64, 32, 2)];
    const keep = topKSelection(tf.norm(weight, 2, 1) as tf.Tensor1D, 16);
    const layer = (x: tf.Tensor) => linearKeptRows(x as tf.Tensor2D, weight, keep);
    const both = () => [layer(x), tf.grad(layer)(x)] as const;
    const [y, dx] = both();
    const [composed, composedGradient] = withoutKernels(both);
    const largest = (a: tf.Tensor, b: tf.Tensor) => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]!;
    say(`[${x.shape}] by the ${keep.kept} of ${keep.total} rows with the greatest norms: [${y.shape}]`);
    say(`as the composition: ${largest(y, composed) < 1e-4}; its gradient: ${largest(dx, composedGradient) < 1e-4}`);
  });
}
