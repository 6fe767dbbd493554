/** @file Rows: gathered, added up where they came from, taken apart and joined; and means of those of a sequence. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, forEach, output, sizeOf, words } from '../../shared/call.js';

function gatherRows({ backend, inputs: { x, rows } }: Call<'SpftGatherRows'>): tf.TensorInfo {
  const [R, n] = [rows.shape[0]!, x.shape[1]!];
  const y = output(backend, [R, n]);
  forEach(backend, 'gather-rows', [R * n, n], [backend.halves.asStored(x), rows, y], {
    X_STORED: backend.halves.codeOf(x),
  });
  return y;
}

function gatherRowsGrad({ backend, inputs: { dy, rows }, attributes }: Call<'SpftGatherRowsGrad'>): tf.TensorInfo {
  const [R, n] = dimensions(dy);
  const dx = output(backend, [attributes.total, n]);
  forEach(backend, 'zero', [attributes.total * n], [dx]);
  if (R * n > 0) backend.dispatch('gather-rows-grad', {}, words(R, n), [dy, rows, dx], [Math.ceil(n / 64)]);
  return dx;
}

function splitRows({ backend, inputs: { x }, attributes: { at } }: Call<'SpftSplitRows'>): tf.TensorInfo[] {
  const [T, n] = dimensions(x);
  const [first, second] = [output(backend, [at, n]), output(backend, [T - at, n])];
  forEach(backend, 'copy', [at * n, 0, 0], [x, first]);
  forEach(backend, 'copy', [(T - at) * n, at * n, 0], [x, second]);
  return [first, second];
}

function joinRows({ backend, inputs: { first, second } }: Call<'SpftJoinRows'>): tf.TensorInfo {
  const [D, n] = dimensions(first);
  const S = second.shape[0]!;
  const y = output(backend, [D + S, n]);
  forEach(backend, 'copy', [D * n, 0, 0], [first, y]);
  forEach(backend, 'copy', [S * n, 0, D * n], [second, y]);
  return y;
}

function sequenceMeans({ backend, inputs: { x }, attributes }: Call<'SpftSequenceMeans'>): tf.TensorInfo {
  const { sequenceStarts, rowOfToken } = attributes;
  const [B, n] = [sequenceStarts.length - 1, x.shape[1]!];
  const y = output(backend, [B, n]);
  forEach(backend, 'sequence-means', [sizeOf(y.shape), n], [x, sequenceStarts, rowOfToken, y]);
  return y;
}

export const rowsKernels = {
  SpftGatherRows: gatherRows,
  SpftGatherRowsGrad: gatherRowsGrad,
  SpftSplitRows: splitRows,
  SpftJoinRows: joinRows,
  SpftSequenceMeans: sequenceMeans,
};
