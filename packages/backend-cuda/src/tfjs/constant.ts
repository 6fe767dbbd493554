/** @file Tensors that are made rather than computed: filled ones, ranges, copies of handles, casts. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, hostTensor, packsOf, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { declareVariants } from '../shared/variants.js';
import { C_TYPE, type Physical, PLAIN_C_TYPES, physicalOf } from '../storage.js';

/** A new tensor of one value; of one element it stays on the host. Owned by the caller. */
export function filled(
  backend: CudaBackend,
  shape: readonly number[],
  value: number,
  dtype: tf.DataType,
  physical: Physical = physicalOf(dtype),
): tf.TensorInfo {
  const size = tf.util.sizeFromShape([...shape]);
  if (size === 1 && physical !== 'bf16') return hostTensor(backend, value, shape, dtype);
  const result = backend.output(shape, dtype, physical);
  fillElements(backend, result, value);
  return result;
}

/** Writes `value` into every element of `info`. */
export function fillElements(backend: CudaBackend, info: tf.TensorInfo, value: number): void {
  if (Object.is(value, 0)) {
    backend.clear(info);
    return;
  }
  const size = tf.util.sizeFromShape(info.shape);
  const [physical, address] = [backend.physical(info), backend.address(info)];
  const packs = packsOf(size, [address, physical]);
  const kernel = backend.kernel('fill', 'fill', 'pllfi', { TO: C_TYPE[physical] });
  const integer = Number.isFinite(value) ? Math.trunc(value) : 0;
  backend.launch(
    kernel,
    [blocksFor(Math.max(packs, size - 8 * packs))],
    [THREADS],
    [address, size, packs, value, integer],
  );
}

/** Another dtype: the same memory where the elements stay as they are. */
export function cast(backend: CudaBackend, x: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.share(x);
  const scalar = backend.hostScalar(x);
  if (scalar !== null) {
    const value = dtype === 'bool' ? (scalar !== 0 ? 1 : 0) : dtype === 'int32' ? Math.trunc(scalar) : scalar;
    return hostTensor(backend, value, x.shape, dtype);
  }
  return backend.as(x, physicalOf(dtype));
}

registerCudaKernel<never, { shape: number[]; value: number | string; dtype?: tf.DataType }>(
  tf.Fill,
  ({ backend, attributes: { shape, value, dtype } }) => {
    if (typeof value === 'string') throw new TypeError('backend cuda: tensors of strings cannot be filled');
    return filled(backend, shape, value, dtype ?? 'float32');
  },
);

for (const [name, value] of [
  [tf.ZerosLike, 0],
  [tf.OnesLike, 1],
] as const) {
  registerCudaKernel<'x'>(name, ({ backend, inputs: { x } }) =>
    filled(backend, x.shape, value, x.dtype, backend.physical(x)),
  );
}

registerCudaKernel<'x'>(tf.Identity, ({ backend, inputs }) => backend.share(inputs.x), { readsForms: true });

registerCudaKernel<'x', { shape: number[] }>(tf.Reshape, ({ backend, inputs: { x }, attributes }) => {
  const size = tf.util.sizeFromShape(x.shape);
  const shape = tf.util.inferFromImplicitShape(attributes.shape, size);
  if (tf.util.sizeFromShape(shape) !== size) {
    throw new RangeError(`reshape: [${x.shape}] has ${size} elements and [${shape}] ${tf.util.sizeFromShape(shape)}`);
  }
  return backend.share(x, shape);
});

registerCudaKernel<'input', { dim: number }>(tf.ExpandDims, ({ backend, inputs: { input }, attributes: { dim } }) => {
  const shape = input.shape.slice();
  if (dim < -(shape.length + 1) || dim > shape.length) {
    throw new RangeError(`expandDims: axis must be in [${-(shape.length + 1)}, ${shape.length}]; it is ${dim}`);
  }
  shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
  return backend.share(input, shape);
});

registerCudaKernel<'x', { dtype: tf.DataType }>(tf.Cast, ({ backend, inputs, attributes }) =>
  cast(backend, inputs.x, attributes.dtype),
);

// Short, and wanted in double precision as on other backends: made on the host.
registerCudaKernel<never, { start: number; stop: number; step?: number; dtype?: 'float32' | 'int32' }>(
  tf.Range,
  ({ backend, attributes: { start, stop, step: given = 1, dtype = 'float32' } }) => {
    // One down where it is not said.
    const step = stop < start && given === 1 ? -1 : given;
    const against = (start < stop && step < 0) || (stop < start && step > 0) || step === 0;
    const count = start === stop || against ? 0 : Math.abs(Math.ceil((stop - start) / step));
    return fromHost(
      backend,
      Float64Array.from({ length: count }, (_, n) => start + n * step),
      dtype,
    );
  },
);

registerCudaKernel<never, { start: number; stop: number; num: number }>(
  tf.LinSpace,
  ({ backend, attributes: { start, stop, num } }) => {
    const step = (stop - start) / (num - 1);
    return fromHost(
      backend,
      Float64Array.from({ length: num }, (_, n) => (n === 0 ? start : start + n * step)),
      'float32',
    );
  },
);

/** A vector of the host's numbers, owned by the caller. */
function fromHost(backend: CudaBackend, values: Float64Array, dtype: 'float32' | 'int32'): tf.TensorInfo {
  const typed = dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values);
  return { dataId: backend.write(typed, [values.length], dtype), shape: [values.length], dtype };
}

declareVariants(
  'fill',
  PLAIN_C_TYPES.map((TO) => ({ TO })),
);
const ELEMENTS = PLAIN_C_TYPES;
declareVariants(
  'cast',
  ELEMENTS.flatMap((FROM) => ELEMENTS.filter((TO) => TO !== FROM).map((TO) => ({ FROM, TO }))),
);
