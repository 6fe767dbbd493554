/** @file Products of the kept channels of several layers with one input, for rows that are sparse: one for all of them, each way. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { LowRank } from '../../device/product.js';
import { runsOnCodes } from '../../forms/e4m3.js';
import { type Activations, formOf, keptRows, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import { columnsOf, fitSideBySide, quantiseSideBySide } from '../../forms/quantised-parts.js';
import { BYTES } from '../../storage.js';
import { gatherColumnsTo } from '../select/gather-columns.js';
import { scatterColumns } from '../select/scatter-columns.js';
import { beginSideBySide, type Layer } from './layers.js';

type Type = 'bf16' | 'f32';

/**
 * y [T − D, out] of each layer = the kept channels of the last rows and zeros between them, by one product for all.
 * @returns the gathered rows of the weights, one below the other, for the backward.
 */
export function keptForward(
  backend: CudaBackend,
  x: Activations,
  layers: readonly Layer[],
  ys: readonly TensorInfo[],
): TensorInfo {
  const [T, rows] = [x.x.shape[0]!, ys[0]!.shape[0]!];
  const indices = layers.map(({ keep }) => keep!.indices);
  const gathered = keptRows(
    backend,
    layers.map(({ weight }) => weight),
    indices,
  );
  const values = backend.output([rows, gathered.shape[0]!], 'float32', x.type);
  const biases = layers.map(({ bias }) => bias);
  const beta = beginSideBySide(backend, values, biases, indices);
  timesWeight(backend, x, gathered, { d: backend.address(values), type: x.type, beta }, T - rows, T);
  let at = 0;
  ys.forEach((y, n) => {
    scatterColumns(backend, values, indices[n]!, y, at);
    at += indices[n]!.shape[0]!;
  });
  backend.release(values);
  return gathered;
}

/** dx [rows, in] = or += Σ dyᵢ·Wᵢ of the kept channels. @param gathered the kept rows of all weights, one below the other. @param lowRank to be added, where products with these can. */
export function keptBackward(
  backend: CudaBackend,
  parts: readonly { readonly dy: TensorInfo; readonly indices: TensorInfo }[],
  gathered: TensorInfo,
  dx: TensorInfo,
  beta: 0 | 1,
  type: Type,
  lowRank?: LowRank,
): void {
  const rows = dx.shape[0]!;
  if (rows === 0) return;
  const sum = { d: backend.address(dx), type, beta, lowRank };
  const places = parts.map(({ dy, indices }) => columnsOf(backend, dy, indices));
  if (runsOnCodes(backend, gathered) && fitSideBySide(backend, type, places)) {
    const codes = quantiseSideBySide(backend, rows, type, places);
    formOf(backend, gathered).timesTransposed(backend, codes, gathered, sum);
    codes.release();
    return;
  }
  const all = gathered.shape[0]!;
  const values = backend.output([rows, all], 'float32', type);
  let to = backend.address(values);
  for (const { dy, indices } of parts) {
    gatherColumnsTo(backend, dy, indices, to, all);
    to += indices.shape[0]! * BYTES[type];
  }
  withActivations(backend, values, type, (dy) => timesTransposed(backend, dy, gathered, sum));
  backend.release(values);
}
