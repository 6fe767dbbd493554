/** @file Columns: gathered, scattered, masked, and what they add up to. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, dimensions, forEach, output, sizeOf, words } from '../../shared/call.js';

function gather({ backend, inputs: { x, indices } }: Call<'SpftGatherColumns'>, TRANSPOSED: boolean): tf.TensorInfo {
  const [T, n] = dimensions(x);
  const kept = indices.shape[0]!;
  const y = output(backend, TRANSPOSED ? [kept, T] : [T, kept]);
  forEach(backend, 'gather-columns', [T * kept, kept, n, T], [x, indices, y], { TRANSPOSED });
  return y;
}

function scatter({ backend, inputs: { x, indices }, attributes }: Call<'SpftScatterColumns'>): tf.TensorInfo {
  const [T, kept] = dimensions(x);
  const y = output(backend, [T, attributes.total]);
  forEach(backend, 'scatter-columns', [sizeOf(y.shape), kept, attributes.total], [x, indices, y]);
  return y;
}

function mask({ backend, inputs: { x, indices }, attributes }: Call<'SpftMaskColumns'>): tf.TensorInfo {
  const [T, n] = dimensions(x);
  const y = output(backend, x.shape);
  forEach(backend, 'mask-columns', [T * n, indices.shape[0]!, n, attributes.fromRow], [x, indices, y]);
  return y;
}

/** y[j] = Σₜ a[t, j] · b[t, j], or its root. */
export function columnDots(backend: Backend, a: tf.TensorInfo, b: tf.TensorInfo, ROOT: boolean): tf.TensorInfo {
  const [T, n] = dimensions(a);
  const y = output(backend, [n]);
  if (n > 0) backend.dispatch('column-dots', { ROOT }, words(T, n), [a, b, a, y], [Math.ceil(n / 32)]);
  return y;
}

export const columnsKernels = {
  SpftGatherColumns: (call: Call<'SpftGatherColumns'>) => gather(call, false),
  SpftGatherColumnsTransposed: (call: Call<'SpftGatherColumnsTransposed'>) => gather(call, true),
  SpftScatterColumns: scatter,
  SpftMaskColumns: mask,
  SpftColumnDots: ({ backend, inputs: { a, b } }: Call<'SpftColumnDots'>) => columnDots(backend, a, b, false),
  SpftColumnNorms: ({ backend, inputs: { x } }: Call<'SpftColumnNorms'>) => columnDots(backend, x, x, true),
};
