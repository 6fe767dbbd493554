/** @file Kernels that other kernels make up: sums of many tensors, Einstein's sums, products with bias and activation. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { callKernel } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { binary } from './binary.js';
import { transpose } from './movement.js';
import { reduce } from './reduce.js';
import { unary } from './unary.js';

registerCudaKernel<string>(tf.AddN, ({ backend, inputs }) => {
  const [first, ...others] = Object.values(inputs) as [tf.TensorInfo, ...tf.TensorInfo[]];
  return others.reduce(
    (sum, tensor) => replaced(backend, sum, binary(backend, 'Add', sum, tensor)),
    backend.share(first),
  );
});

/** `after`, with `before` given back. */
function replaced(backend: CudaBackend, before: tf.TensorInfo, after: tf.TensorInfo): tf.TensorInfo {
  backend.release(before);
  return after;
}

// By multiplications and sums, as tfjs's other backends do it.
registerCudaKernel<string, { equation: string }>(tf.Einsum, ({ backend, inputs, attributes: { equation } }) => {
  const tensors = Object.values(inputs);
  const util = tf.backend_util;
  const { allDims, summedDims, idDims } = util.decodeEinsumEquation(equation, tensors.length);
  util.checkEinsumDimSizes(allDims.length, idDims, tensors as tf.Tensor[]);
  const { path, steps } = util.getEinsumComputePath(summedDims, idDims);
  let result: tf.TensorInfo | null = null;
  let remaining = allDims.length;
  steps.forEach((step, n) => {
    for (const id of step) {
      const { permutationIndices, expandDims } = util.getEinsumPermutation(remaining, idDims[id]!);
      const moved = transpose(backend, tensors[id]!, permutationIndices);
      const shape = moved.shape.slice();
      for (const axis of expandDims) shape.splice(axis, 0, 1);
      const operand = { ...moved, shape };
      if (result === null) result = operand;
      else {
        result = replaced(backend, result, binary(backend, 'Multiply', operand, result));
        backend.release(operand);
      }
    }
    if (n < steps.length - 1) {
      if (path[n]! >= 0) {
        const axis = path[n]! - (allDims.length - remaining);
        const before = result!;
        result = replaced(backend, before, reduce(backend, 'Sum', before, before.dtype, axis));
      }
      remaining--;
    }
  });
  return result!;
});

interface FusedAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly activation?: string | null;
  readonly leakyreluAlpha?: number;
}

/** Kernels of one input by tfjs's names of activations. */
const ACTIVATIONS: Readonly<Record<string, string>> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  leakyrelu: 'LeakyRelu',
};

registerCudaKernel<'a' | 'b' | 'bias' | 'preluActivationWeights', FusedAttributes>(
  tf._FusedMatMul,
  ({ backend, inputs, attributes }) => {
    const { transposeA, transposeB, activation, leakyreluAlpha } = attributes;
    const { a, b, bias, preluActivationWeights: weights } = inputs as Partial<typeof inputs> & typeof inputs;
    let result = callKernel(backend, tf.BatchMatMul, { a, b }, { transposeA, transposeB });
    if (bias) result = replaced(backend, result, binary(backend, 'Add', result, bias));
    if (!activation || activation === 'linear') return result;
    if (activation === 'prelu') return replaced(backend, result, binary(backend, 'Prelu', result, weights));
    const kernel = ACTIVATIONS[activation];
    if (!kernel) throw new TypeError(`fused matMul: activation '${activation}' is none of ${Object.keys(ACTIVATIONS)}`);
    return replaced(backend, result, unary(backend, kernel, result, leakyreluAlpha ?? 0));
  },
);
