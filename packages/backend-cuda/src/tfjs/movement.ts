/** @file Kernels that move elements and leave them as they are; bf16 stays bf16. Parts along the outermost axis share the tensor's memory. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { copyStrided } from '../shared/copying.js';
import { registerCudaKernel } from '../shared/register.js';
import { broadcastStrides, stridesOf } from '../shared/shapes.js';
import { BYTES } from '../storage.js';
import { fillElements } from './constant.js';

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const dot = (a: readonly number[], b: readonly number[]): number => sum(a.map((value, n) => value * b[n]!));

/** A new tensor of `shape` whose elements are those of `x` from element `start` on in steps of `strides`. */
function pick(
  backend: CudaBackend,
  x: tf.TensorInfo,
  shape: readonly number[],
  strides: readonly number[],
  start = 0,
): tf.TensorInfo {
  const physical = backend.physical(x);
  const result = backend.output(shape, x.dtype, physical);
  if (tf.util.sizeFromShape([...shape]) === 0) return result;
  const bytes = BYTES[physical];
  const to = { address: backend.address(result), strides: stridesOf(shape) };
  copyStrided(backend, bytes, shape, { address: backend.address(x) + start * bytes, strides }, to);
  return result;
}

/** The part of `x` of size `size` that begins at `begin`: its own memory where the part is one run of it. Owned by the caller. */
export function slice(
  backend: CudaBackend,
  x: tf.TensorInfo,
  begin: readonly number[],
  size: readonly number[],
): tf.TensorInfo {
  const strides = stridesOf(x.shape);
  const start = dot(begin, strides);
  // Up to the first axis along which there is more than one index, anything; beyond it, everything.
  const first = size.findIndex((length) => length !== 1);
  const run = first < 0 || size.every((length, axis) => axis <= first || length === x.shape[axis]);
  const count = tf.util.sizeFromShape([...size]);
  if (run && count === tf.util.sizeFromShape(x.shape)) return backend.share(x, size);
  // Only where it is aligned as memory of its own is, so that no kernel meets a tensor that is not.
  const aligned = (start * BYTES[backend.physical(x)]) % 16 === 0;
  if (run && count > 0 && aligned && backend.hostScalar(x) === null) return backend.view(x, size, start);
  return pick(backend, x, size, strides, start);
}

registerCudaKernel<'x', { begin: number | number[]; size: number | number[] }>(
  tf.Slice,
  ({ backend, inputs: { x }, attributes }) => {
    const [begin, size] = tf.slice_util.parseSliceParams(x as tf.Tensor, attributes.begin, attributes.size);
    tf.slice_util.assertParamsValid(x as tf.Tensor, begin!, size!);
    return slice(backend, x, begin!, size!);
  },
);

interface StridedSliceAttributes {
  readonly begin: number[];
  readonly end: number[];
  readonly strides: number[];
  readonly beginMask: number;
  readonly endMask: number;
  readonly ellipsisMask: number;
  readonly newAxisMask: number;
  readonly shrinkAxisMask: number;
}

registerCudaKernel<'x', StridedSliceAttributes>(tf.StridedSlice, ({ backend, inputs: { x }, attributes: a }) => {
  const { finalShape, isIdentity, sliceDim0, isSimpleSlice, begin, end, strides } = tf.slice_util.sliceInfo(
    x.shape,
    a.begin,
    a.end,
    a.strides,
    a.beginMask,
    a.endMask,
    a.ellipsisMask,
    a.newAxisMask,
    a.shrinkAxisMask,
  );
  if (isIdentity) return backend.share(x, finalShape);
  const sizes = tf.slice_util.computeOutShape(begin, end, strides);
  if (sliceDim0 || isSimpleSlice) {
    const part = slice(backend, x, begin, sizes);
    return { ...part, shape: finalShape };
  }
  const own = stridesOf(x.shape);
  const steps = own.map((stride, axis) => stride * strides[axis]!);
  const part = pick(backend, x, sizes, steps, dot(begin, own));
  return { ...part, shape: finalShape };
});

registerCudaKernel<'x', { dims: number | number[] }>(tf.Reverse, ({ backend, inputs: { x }, attributes: { dims } }) => {
  if (x.shape.length === 0) return backend.share(x);
  const axes = tf.util.parseAxisParam(dims, x.shape);
  const strides = stridesOf(x.shape);
  const start = sum(axes.map((axis) => Math.max(0, x.shape[axis]! - 1) * strides[axis]!));
  return pick(
    backend,
    x,
    x.shape,
    strides.map((stride, axis) => (axes.includes(axis) ? -stride : stride)),
    start,
  );
});

/** `x` with its axes in the order `permutation`. Owned by the caller. */
export function transpose(backend: CudaBackend, x: tf.TensorInfo, permutation: readonly number[]): tf.TensorInfo {
  const strides = stridesOf(x.shape);
  const shape = permutation.map((axis) => x.shape[axis]!);
  // Axes of more than one index in their old order: nothing moves.
  const moving = permutation.filter((axis) => x.shape[axis] !== 1);
  if (moving.every((axis, n) => n === 0 || axis > moving[n - 1]!)) return backend.share(x, shape);
  return pick(
    backend,
    x,
    shape,
    permutation.map((axis) => strides[axis]!),
  );
}

registerCudaKernel<'x', { perm: number[] }>(tf.Transpose, ({ backend, inputs, attributes }) =>
  transpose(backend, inputs.x, attributes.perm),
);

/** `x` broadcast to `shape`. Owned by the caller. */
export const broadcastTo = (backend: CudaBackend, x: tf.TensorInfo, shape: readonly number[]): tf.TensorInfo =>
  pick(backend, x, shape, broadcastStrides(x.shape, shape));

registerCudaKernel<'x', { shape: number[] }>(tf.BroadcastTo, ({ backend, inputs, attributes }) =>
  broadcastTo(backend, inputs.x, attributes.shape),
);

// An axis repeated is one broadcast over a new axis before it.
registerCudaKernel<'x', { reps: number[] }>(tf.Tile, ({ backend, inputs: { x }, attributes: { reps } }) => {
  const strides = stridesOf(x.shape);
  const sizes = x.shape.flatMap((size, axis) => [reps[axis]!, size]);
  const repeated = pick(
    backend,
    x,
    sizes,
    strides.flatMap((stride) => [0, stride]),
  );
  return { ...repeated, shape: x.shape.map((size, axis) => size * reps[axis]!) };
});

interface PadAttributes {
  readonly paddings: readonly [number, number][];
  readonly constantValue: number;
}

registerCudaKernel<'x', PadAttributes>(tf.PadV2, ({ backend, inputs: { x }, attributes }) => {
  const { paddings, constantValue } = attributes;
  const physical = backend.physical(x);
  const shape = x.shape.map((size, axis) => size + paddings[axis]![0] + paddings[axis]![1]);
  const result = backend.output(shape, x.dtype, physical);
  fillElements(backend, result, constantValue);
  if (tf.util.sizeFromShape(x.shape) === 0) return result;
  const strides = stridesOf(shape);
  const start = sum(paddings.map(([before], axis) => before * strides[axis]!));
  const to = { address: backend.address(result) + start * BYTES[physical], strides };
  copyStrided(backend, BYTES[physical], x.shape, { address: backend.address(x), strides: stridesOf(x.shape) }, to);
  return result;
});

registerCudaKernel<'x'>(tf.Diag, ({ backend, inputs: { x } }) => {
  const size = tf.util.sizeFromShape(x.shape);
  const result = backend.output([...x.shape, ...x.shape], x.dtype, backend.physical(x));
  backend.clear(result);
  const to = { address: backend.address(result), strides: [size + 1] };
  copyStrided(backend, BYTES[backend.physical(x)], [size], { address: backend.address(x), strides: [1] }, to);
  return result;
});
