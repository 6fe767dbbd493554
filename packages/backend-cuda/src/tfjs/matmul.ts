/** @file Matrix products of tfjs, plain and batched, by cuBLASLt. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { type KernelCall, registerCudaKernel } from '../shared/register.js';
import { typeOf } from '../shared/tensors.js';
import { cast } from './constant.js';

interface MatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** a·b of two-dimensional operands as a new tensor: in bf16 where both are, else in float. Owned by the caller. */
export function product(
  backend: CudaBackend,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  transposeA = false,
  transposeB = false,
  output = typeOf(backend, a, b),
): tf.TensorInfo {
  const type = typeOf(backend, a, b);
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const n = b.shape[transposeB ? 0 : 1]!;
  const d = backend.output([m, n], 'float32', output);
  if (k === 0) {
    backend.clear(d);
    return d;
  }
  const [left, right] = [backend.as(a, type), backend.as(b, type)];
  const operands = { a: backend.address(left), b: backend.address(right), d: backend.address(d) };
  backend.multiply({ m, n, k, transposeA, transposeB, type, outputType: output, ...operands });
  backend.release(left);
  backend.release(right);
  return d;
}

function batchMatMul({ backend, inputs, attributes }: KernelCall<'a' | 'b', MatMulAttributes>): tf.TensorInfo {
  const { a, b } = inputs;
  const { transposeA, transposeB } = attributes;
  const [outerA, outerB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(outerA, outerB);
  const [rowsA, columnsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [inner, n] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  if (k !== inner) {
    throw new RangeError(
      `matMul: inner dimensions ${k} and ${inner} of [${a.shape}] and [${b.shape}] differ (transposeA ${transposeA}, transposeB ${transposeB})`,
    );
  }
  const type = typeOf(backend, a, b);
  const d = backend.output([...outer, m, n], 'float32', type);
  const [countA, countB] = [tf.util.sizeFromShape(outerA), tf.util.sizeFromShape(outerB)];
  const count = tf.util.sizeFromShape(outer);
  if (k === 0 || count === 0) {
    backend.clear(d);
    return d;
  }
  const [left, right] = [backend.as(a, type), backend.as(b, type)];
  const bytes = type === 'bf16' ? 2 : 4;
  const common = { m, n, k, transposeA, transposeB, type, outputType: type } as const;
  if ((countA === count || countA === 1) && (countB === count || countB === 1)) {
    backend.multiply({
      ...common,
      a: backend.address(left),
      b: backend.address(right),
      d: backend.address(d),
      batch: count,
      strideA: countA === 1 && count > 1 ? 0 : m * k,
      strideB: countB === 1 && count > 1 ? 0 : k * n,
      strideD: m * n,
    });
  } else {
    // Batches that broadcast in more than one dimension: product by product.
    for (let place = 0; place < count; place++) {
      const at = locate(place, outer);
      const of = (shape: readonly number[]) =>
        shape.reduce(
          (index, size, axis) => index * size + (size === 1 ? 0 : at[axis + outer.length - shape.length]!),
          0,
        );
      backend.multiply({
        ...common,
        a: backend.address(left) + of(outerA) * m * k * bytes,
        b: backend.address(right) + of(outerB) * k * n * bytes,
        d: backend.address(d) + place * m * n * bytes,
      });
    }
  }
  backend.release(left);
  backend.release(right);
  return d;
}

/** Indices along each dimension of element `place`, row-major. */
function locate(place: number, shape: readonly number[]): number[] {
  const at = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at[axis] = place % shape[axis]!;
    place = Math.floor(place / shape[axis]!);
  }
  return at;
}

// Integers are multiplied as floats: exact up to 2^24, as on other backends that compute in float.
registerCudaKernel<'a' | 'b', MatMulAttributes>(tf.BatchMatMul, (call) => {
  const { backend, inputs } = call;
  const result = batchMatMul(call);
  if (tf.upcastType(inputs.a.dtype, inputs.b.dtype) !== 'int32') return result;
  const integers = cast(backend, result, 'int32');
  backend.release(result);
  return integers;
});
