/** @file The head and its loss, in chunks of rows whose logits exist at once; the gradient of x is made while they do. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, groupsFor, output, withScratch, words } from '../../shared/call.js';
import { multiply, plain, transposed } from '../../shared/product.js';
import { sumInto } from '../../shared/sum.js';

const LANES = 256;

function linearCrossEntropy(call: Call<'SpftLinearCrossEntropy'>): tf.TensorInfo[] {
  const { backend, attributes } = call;
  const { x, weight, labels } = call.inputs;
  const [R, H] = dimensions(x);
  const V = weight.shape[0]!;
  const chunk = Math.min(R, attributes.chunkRows);
  const loss = output(backend, []);
  const dx = attributes.withGradient ? output(backend, [R, H]) : null;
  withScratch(backend, [chunk * V, R], (logits, losses) => {
    for (let from = 0; from < R; from += chunk) {
      const m = Math.min(chunk, R - from);
      multiply(backend, { m, n: V, k: H, a: plain(x, from), b: transposed(weight), c: { x: logits! } });
      const params = words(m, V, from);
      backend.dispatch('cross-entropy', { LANES }, params, [labels, logits!, losses!], groupsFor(m));
      if (!dx) continue;
      const a = { x: logits!, row: V, column: 1 };
      multiply(backend, { m, n: H, k: V, a, b: plain(weight), c: { x: dx, offset: from * H } });
    }
    sumInto(backend, losses!, R, loss);
  });
  return dx ? [loss, dx] : [loss];
}

export const linearCrossEntropyKernels = { SpftLinearCrossEntropy: linearCrossEntropy };
