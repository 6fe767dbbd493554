/** @file What ops are made of: a transpose, and products of batches. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, output, sizeOf, words } from '../../shared/call.js';
import { multiply } from '../../shared/product.js';

function transpose2d({ backend, inputs: { x } }: Call<'SpftTranspose2d'>): tf.TensorInfo {
  const [rows, columns] = dimensions(x);
  const y = output(backend, [columns, rows]);
  const groups = [Math.ceil(columns / 16), Math.ceil(rows / 16)] as const;
  if (sizeOf(x.shape) > 0) backend.dispatch('transpose', {}, words(rows, columns), [x, y], groups);
  return y;
}

function batchedMatMul({ backend, inputs: { a, b }, attributes }: Call<'SpftBatchedMatMul'>): tf.TensorInfo {
  const { transposeA, transposeB } = attributes;
  const [batch, aRows, aColumns] = a.shape as [number, number, number];
  const [, bRows, bColumns] = b.shape as [number, number, number];
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const n = transposeB ? bRows : bColumns;
  const y = output(backend, [batch, m, n]);
  const strides = (width: number, isTransposed: boolean) =>
    isTransposed ? { row: 1, column: width } : { row: width, column: 1 };
  multiply(backend, {
    ...{ m, n, k, batch, c: { x: y } },
    a: { x: a, ...strides(aColumns, transposeA), batch: aRows * aColumns },
    b: { x: b, ...strides(bColumns, transposeB), batch: bRows * bColumns },
  });
  return y;
}

export const productsKernels = { SpftTranspose2d: transpose2d, SpftBatchedMatMul: batchedMatMul };
