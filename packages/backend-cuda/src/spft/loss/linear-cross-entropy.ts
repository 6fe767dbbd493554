/**
 * @file The head of a language model and its loss: in chunks of rows, logits in float that one kernel turns into the loss and, in place, into
 * their gradient in the type of the product that follows.
 */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, multiply, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Logits that exist at once take at most so much: they come when all that the backward needs is there, at the peak of a step's memory. */
const MOST_BYTES = 256 * 2 ** 20;

/** Rows at once: as many as fit, in a number that the multiplication likes. */
function rowsAtOnce(rows: number, vocabulary: number): number {
  const fit = Math.max(1, Math.floor(MOST_BYTES / (4 * Math.max(1, vocabulary))));
  if (rows <= fit) return rows;
  return fit >= 128 ? fit - (fit % 128) : fit;
}

/**
 * Σᵣ −log softmax(x·Wᵀ)[r, label].
 * @param x [R, H]. @param weight [V, H]. @param labels int32 [R].
 * @param chunk rows whose logits exist at once.
 * @returns the loss in float and, if asked for, the gradient of x in its type; owned by the caller.
 */
export function linearCrossEntropy(
  backend: CudaBackend,
  x: Info,
  weight: Info,
  labels: Info,
  withGradient: boolean,
  chunk = rowsAtOnce(x.shape[0]!, weight.shape[0]!),
): Info[] {
  const [R, H] = x.shape as [number, number];
  const V = weight.shape[0]!;
  const type = typeOf(backend, x, weight);
  const bytes = BYTES[type];
  return inScope(backend, (scope) => {
    const [ofX, ofWeight] = [x, weight].map((info) => scope.address(info, type)) as [number, number];
    const losses = backend.address(scope.temporary(backend.output([R], 'float32', 'f32')));
    const loss = scope.output([], 'float32', 'f32');
    const dx = withGradient ? scope.output([R, H], 'float32', type) : null;
    const logits = backend.address(scope.temporary(backend.output([Math.min(chunk, R), V], 'float32', 'f32')));
    const kernel = backend.kernel('linear-cross-entropy', 'cross_entropy', 'pppiii', { D: C_TYPE[type] });
    const ofLabels = R > 0 ? backend.address(labels) : 0;
    for (let row = 0; row < R; row += chunk) {
      const m = Math.min(chunk, R - row);
      const rowsOfX = ofX + row * H * bytes;
      multiply(backend, {
        ...{ m, n: V, k: H, transposeB: true, type, outputType: 'f32' },
        ...{ a: rowsOfX, b: ofWeight, d: logits },
      });
      const numbers = [V, withGradient ? 1 : 0, aligned(V, logits)];
      backend.launch(kernel, [m], [1024], [logits, ofLabels + 4 * row, losses + 4 * row, ...numbers]);
      if (!dx) continue;
      // The gradient's rows begin where the logits' did: so many of its own numbers apart.
      multiply(backend, {
        ...{ m, n: H, k: V, type, outputType: type, lda: (V * 4) / bytes },
        ...{ a: logits, b: ofWeight, d: backend.address(dx) + row * H * bytes },
      });
    }
    const sum = backend.kernel('linear-cross-entropy', 'sum_losses', 'ppi', { D: C_TYPE[type] });
    backend.launch(sum, [1], [256], [losses, backend.address(loss), R]);
    return dx ? [loss, dx] : [loss];
  });
}

declareVariants('linear-cross-entropy', combinations({ D: FLOATS }));

/** Kernels of the contract. */
export const linearCrossEntropyKernels = {
  SpftLinearCrossEntropy: ({ backend, inputs: { x, weight, labels }, attributes: { withGradient } }) =>
    linearCrossEntropy(backend, x, weight, labels, withGradient),
} satisfies CudaKernels;
