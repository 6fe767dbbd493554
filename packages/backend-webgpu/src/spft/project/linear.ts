/** @file Frozen linear layers: whole, by kept rows, by kept columns. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, output } from '../../shared/call.js';
import { Gather, multiply, plain, transposed } from '../../shared/product.js';

/** x · weightᵀ + bias. */
function linear({ backend, inputs: { x, weight, bias } }: Call<'SpftLinear'>): tf.TensorInfo {
  const [m, k] = dimensions(x);
  const n = weight.shape[0]!;
  const y = output(backend, [m, n]);
  multiply(backend, { m, n, k, a: plain(x), b: transposed(weight), c: { x: y }, bias });
  return y;
}

function linearGrad({ backend, inputs: { dy, weight } }: Call<'SpftLinearGrad'>): tf.TensorInfo {
  const [m, k] = dimensions(dy);
  const n = weight.shape[1]!;
  const dx = output(backend, [m, n]);
  multiply(backend, { m, n, k, a: plain(dy), b: plain(weight), c: { x: dx } });
  return dx;
}

function keptRows({ backend, inputs: { x, weight, indices, bias } }: Call<'SpftLinearKeptRows'>): tf.TensorInfo {
  const [m, k] = dimensions(x);
  const n = indices.shape[0]!;
  const y = output(backend, [m, n]);
  const gather = Gather.columnsOfB;
  multiply(backend, { m, n, k, a: plain(x), b: transposed(weight), c: { x: y }, indices, gather, bias });
  return y;
}

function keptRowsGrad({ backend, inputs: { dy, weight, indices } }: Call<'SpftLinearKeptRowsGrad'>): tf.TensorInfo {
  const [m, k] = dimensions(dy);
  const n = weight.shape[1]!;
  const dx = output(backend, [m, n]);
  multiply(backend, { m, n, k, a: plain(dy), b: plain(weight), c: { x: dx }, indices, gather: Gather.rowsOfB });
  return dx;
}

function keptColumns({ backend, inputs: { x, weight, indices, bias } }: Call<'SpftLinearKeptColumns'>): tf.TensorInfo {
  const [m, k] = dimensions(x);
  const n = weight.shape[0]!;
  const y = output(backend, [m, n]);
  const gather = Gather.rowsOfB;
  multiply(backend, { m, n, k, a: plain(x), b: transposed(weight), c: { x: y }, indices, gather, bias });
  return y;
}

function keptColumnsGrad(call: Call<'SpftLinearKeptColumnsGrad'>): tf.TensorInfo {
  const { dy, weight, indices } = call.inputs;
  const [m, k] = dimensions(dy);
  const n = indices.shape[0]!;
  const dx = output(call.backend, [m, n]);
  const gather = Gather.columnsOfB;
  multiply(call.backend, { m, n, k, a: plain(dy), b: plain(weight), c: { x: dx }, indices, gather });
  return dx;
}

export const linearKernels = {
  SpftLinear: linear,
  SpftLinearGrad: linearGrad,
  SpftLinearKeptRows: keptRows,
  SpftLinearKeptRowsGrad: keptRowsGrad,
  SpftLinearKeptColumns: keptColumns,
  SpftLinearKeptColumnsGrad: keptColumnsGrad,
};
