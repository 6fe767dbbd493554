/** @file Several tensors from one and one from several, along an axis. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { copyStrided } from '../shared/copying.js';
import { resultPhysical } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { stridesOf } from '../shared/shapes.js';
import { BYTES } from '../storage.js';
import { slice } from './movement.js';

/** `tensors` one after the other along `axis`: in bf16 where all of them are. Owned by the caller. */
export function concatenate(backend: CudaBackend, tensors: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const [first] = tensors as [tf.TensorInfo];
  const shape = tf.backend_util.computeOutShape(
    tensors.map((tensor) => tensor.shape),
    axis,
  );
  const physical = resultPhysical(backend, first.dtype, ...tensors);
  const result = backend.output(shape, first.dtype, physical);
  const strides = stridesOf(shape);
  let at = backend.address(result);
  for (const tensor of tensors) {
    if (tf.util.sizeFromShape(tensor.shape) === 0) continue;
    const from = backend.as(tensor, physical);
    const place = { address: backend.address(from), strides: stridesOf(tensor.shape) };
    copyStrided(backend, BYTES[physical], tensor.shape, place, { address: at, strides });
    backend.release(from);
    at += tensor.shape[axis]! * strides[axis]! * BYTES[physical];
  }
  return result;
}

/** Inputs of a kernel that takes a list come under their index. */
const listed = (inputs: Readonly<Record<string, tf.TensorInfo>>): tf.TensorInfo[] => Object.values(inputs);

registerCudaKernel<string, { axis: number }>(tf.Concat, ({ backend, inputs, attributes }) => {
  const tensors = listed(inputs);
  const [axis] = tf.util.parseAxisParam(attributes.axis, tensors[0]!.shape) as [number];
  tf.backend_util.assertParamsConsistent(
    tensors.map((tensor) => tensor.shape),
    axis,
  );
  const filled = tensors.filter((tensor) => tf.util.sizeFromShape(tensor.shape) > 0);
  if (filled.length === 1) return backend.share(filled[0]!);
  return concatenate(backend, tensors, axis);
});

registerCudaKernel<string, { axis: number }>(tf.Pack, ({ backend, inputs, attributes: { axis } }) => {
  const tensors = listed(inputs);
  for (const { shape, dtype } of tensors) {
    tf.util.assertShapesMatch(shape, tensors[0]!.shape, 'All tensors passed to stack must have matching shapes');
    tf.util.assert(dtype === tensors[0]!.dtype, () => 'All tensors passed to stack must have matching dtypes');
  }
  const at = axis < 0 ? axis + tensors[0]!.shape.length + 1 : axis;
  const expanded = tensors.map((tensor) => ({
    ...tensor,
    shape: [...tensor.shape.slice(0, at), 1, ...tensor.shape.slice(at)],
  }));
  if (expanded.length === 1) return backend.share(expanded[0]!);
  return concatenate(backend, expanded, at);
});

interface SplitAttributes {
  readonly numOrSizeSplits: number | number[];
  readonly axis: number;
}

registerCudaKernel<'x', SplitAttributes>(tf.SplitV, ({ backend, inputs: { x }, attributes }) => {
  const [axis] = tf.util.parseAxisParam(attributes.axis, x.shape) as [number];
  const sizes = tf.backend_util.prepareSplitSize(x as tf.Tensor, attributes.numOrSizeSplits, axis);
  const begin = x.shape.map(() => 0);
  return sizes.map((count) => {
    const part = slice(
      backend,
      x,
      begin,
      x.shape.map((size, n) => (n === axis ? count : size)),
    );
    begin[axis]! += count;
    return part;
  });
});

registerCudaKernel<'value', { axis: number }>(tf.Unpack, ({ backend, inputs: { value }, attributes }) => {
  const { shape } = value;
  const axis = attributes.axis < 0 ? attributes.axis + shape.length : attributes.axis;
  const size = shape.map((count, n) => (n === axis ? 1 : count));
  return Array.from({ length: shape[axis]! }, (_, index) => {
    const part = slice(
      backend,
      value,
      shape.map((_size, n) => (n === axis ? index : 0)),
      size,
    );
    return { ...part, shape: shape.filter((_size, n) => n !== axis) };
  });
});
