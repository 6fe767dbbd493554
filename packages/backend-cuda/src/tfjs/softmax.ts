/** @file Softmax and LogSoftmax of the last axis (`cuda/softmax.cu`), in the physical type of the logits. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { registerCudaKernel } from '../shared/register.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { C_TYPE } from '../storage.js';

/** Softmax of the rows of `x`, or its logarithm. Owned by the caller. */
export function softmax(backend: CudaBackend, x: tf.TensorInfo, logarithm = false): tf.TensorInfo {
  const floats = x.dtype === 'float32' ? backend.share(x) : backend.as(x, 'f32');
  const physical = backend.physical(floats);
  const result = backend.output(x.shape, 'float32', physical);
  const n = x.shape.at(-1) ?? 1;
  const rows = n === 0 ? 0 : tf.util.sizeFromShape(x.shape) / n;
  const threads = Math.min(1024, Math.max(32, 2 ** Math.ceil(Math.log2(n / 4))));
  const defines = { FROM: C_TYPE[physical], ...(logarithm ? { LOG: 1 } : {}) };
  const kernel = backend.kernel('softmax', 'softmax_rows', 'ppll', defines);
  backend.launch(
    kernel,
    [Math.min(rows, 2 ** 20)],
    [threads],
    [backend.address(floats), backend.address(result), rows, n],
  );
  backend.release(floats);
  return result;
}

registerCudaKernel<'logits', { dim: number }>(tf.Softmax, ({ backend, inputs: { logits }, attributes: { dim } }) => {
  lastAxis('softmax', logits, dim);
  return softmax(backend, logits);
});
registerCudaKernel<'logits', { axis: number }>(
  tf.LogSoftmax,
  ({ backend, inputs: { logits }, attributes: { axis } }) => {
    lastAxis('logSoftmax', logits, axis);
    return softmax(backend, logits, true);
  },
);

function lastAxis(name: string, { shape }: tf.TensorInfo, axis: number): void {
  if (axis !== -1 && axis !== shape.length - 1) {
    throw new RangeError(`${name}: only of the last axis; axis ${axis} of [${shape}] was asked for`);
  }
}

const FROM = ['float', 'bf16'];
declareVariants('softmax', [...combinations({ FROM }), ...combinations({ FROM, LOG: [1] })]);
