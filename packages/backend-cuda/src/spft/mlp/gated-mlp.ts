/**
 * @file The frozen gated MLP on top of a residual stream (`gatedMlp` of sparse-ops).
 *
 * Kept for the backward: gate and up of dense rows, [D, I] each (of weights in FP8 up as codes, with its scales [D]); of sparse rows both side by side, [S, 2·kept]; the kept rows of gate and up one
 * below the other, [2·kept, H], so that one product makes or takes both; the kept columns of down, [H, kept].
 */
import type { KernelMlpWeights } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import {
  hasOwnGradient,
  multipliesTogether,
  ownOutliers,
  runsOnCodes,
  timesTransposedTogether,
} from '../../forms/e4m3.js';
import {
  type Activations,
  formOf,
  keptColumns,
  keptRows,
  timesTransposed,
  timesWeight,
  withActivations,
} from '../../forms/form.js';
import {
  type Codes,
  quantisedActivation,
  quantisedActivationGrad,
  quantisesActivations,
} from '../../forms/quantised-activation.js';
import { BYTES } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import {
  activationType,
  addRows,
  beginSideBySide,
  beginWithBias,
  placeOfDenseRows,
  rowsOf,
  type Selection,
} from '../project/layers.js';
import { gatedActivation, gatedActivationGrad, type Place } from './gated-activation.js';

type Type = 'bf16' | 'f32';

const placeOf = (backend: CudaBackend, x: TensorInfo, column = 0): Place => ({
  address: backend.address(x) + column * BYTES[backend.physical(x)],
  stride: x.shape[1]!,
});

/** y = residual + (silu(gate) ⊙ up)·Wᵀ. @param weight of down, or its kept columns. @param y null where nobody reads it. */
function multiplyDown(
  backend: CudaBackend,
  gate: Place,
  up: Place,
  weight: TensorInfo,
  residual: TensorInfo,
  y: TensorInfo | null,
  type: Type,
  ofUp: Codes | null = null,
  multiprocessors?: number,
): void {
  const [rows, columns] = [residual.shape[0]!, weight.shape[1]!];
  const extent = { rows, columns, type };
  if (y === null) {
    if (ofUp) quantisedActivation(backend, gate, up, extent, ofUp).release();
    return;
  }
  const sum = { d: backend.address(y), c: backend.address(residual), type, beta: 1, multiprocessors } as const;
  const plain = () => {
    const h = backend.output([rows, columns], 'float32', type);
    gatedActivation(backend, gate, up, placeOf(backend, h), extent);
    return h;
  };
  if (runsOnCodes(backend, weight) && quantisesActivations(backend, extent, [gate, up])) {
    const h = quantisedActivation(backend, gate, up, extent, ofUp, ownOutliers(backend, weight, plain));
    formOf(backend, weight).times(backend, h, weight, sum);
    h.release();
    return;
  }
  const h = plain();
  withActivations(backend, h, type, (h) => timesWeight(backend, h, weight, sum));
  backend.release(h);
}

/** Rows that compute every channel. @returns gate and up, for the backward. */
function denseForward(
  backend: CudaBackend,
  x: Activations,
  residual: TensorInfo,
  { gate, up, down }: KernelMlpWeights,
  y: TensorInfo | null,
  type: Type,
  multiprocessors?: number,
): TensorInfo[] {
  const [rows, channels] = [residual.shape[0]!, gate.weight.shape[0]!];
  const made = [gate, up].map(({ weight, bias }) => {
    const z = backend.output([rows, channels], 'float32', type);
    const sum = { d: backend.address(z), type, beta: beginWithBias(backend, z, bias), multiprocessors };
    timesWeight(backend, x, weight, sum, 0, rows);
    return z;
  });
  const [g, u] = made.map((z) => placeOf(backend, z)) as [Place, Place];
  const onCodes = [gate, up, down].every(({ weight }) => runsOnCodes(backend, weight));
  if (!onCodes || !quantisesActivations(backend, { rows, columns: channels, type }, [g, u])) {
    multiplyDown(backend, g, u, down.weight, residual, y, type, null, multiprocessors);
    return made;
  }
  // What the gradient multiplies up by is rounded as coarsely: up is kept as codes, in half of its room.
  const kept = [backend.output([rows, channels], 'bool'), backend.output([rows])] as const;
  const ofUp = { codes: backend.address(kept[0]), scales: backend.address(kept[1]) };
  multiplyDown(backend, g, u, down.weight, residual, y, type, ofUp);
  backend.release(made[1]!);
  return [made[0]!, ...kept];
}

/** Rows that compute the kept channels. @returns gate and up side by side, and the gathered weights. */
function sparseForward(
  backend: CudaBackend,
  x: Activations,
  residual: TensorInfo,
  { gate, up, down }: KernelMlpWeights,
  { indices, kept }: Selection,
  y: TensorInfo | null,
  type: Type,
): TensorInfo[] {
  const both = keptRows(backend, [gate.weight, up.weight], [indices, indices]);
  const [T, rows] = [x.x.shape[0]!, residual.shape[0]!];
  const z = backend.output([rows, 2 * kept], 'float32', type);
  const beta = beginSideBySide(backend, z, [gate.bias, up.bias], [indices, indices]);
  timesWeight(backend, x, both, { d: backend.address(z), type, beta }, T - rows, T);
  const columns = keptColumns(backend, down.weight, indices);
  multiplyDown(backend, placeOf(backend, z), placeOf(backend, z, kept), columns, residual, y, type);
  return [z, both, columns];
}

const gatedMlp: CudaKernel<'SpftGatedMlp'> = ({
  backend,
  inputs,
  attributes: { weights, keep, denseRows, withOutput = true },
}) => {
  const { gate, down } = weights;
  const T = inputs.x.shape[0]!;
  const type = activationType(backend, inputs.x, gate.weight);
  const residual = backend.as(inputs.residual, type);
  const y = withOutput ? backend.output(inputs.residual.shape, 'float32', type) : null;
  const D = keep ? denseRows : T;
  const kept: TensorInfo[] = [];
  const slice = (from: number, to: number): Slices => [
    rowsOf(backend, residual, from, to),
    y && rowsOf(backend, y, from, to),
  ];
  const releaseAll = (slices: Slices) => {
    for (const t of slices) if (t) backend.release(t);
  };
  withActivations(backend, inputs.x, type, (x) => {
    const place = placeOfDenseRows(backend, gate.weight, D, T);
    // What both kinds of rows take is made before one of them is begun beside the other.
    if (place.lane) x.for(gate.weight, 'input');
    let wait = () => {};
    if (D > 0) {
      const slices = slice(0, D);
      wait = backend.besideRows(place.lane, () => {
        kept.push(...denseForward(backend, x, slices[0], weights, slices[1], type, place.multiprocessors));
      });
      releaseAll(slices);
    }
    if (keep && D < T) {
      const slices = slice(D, T);
      kept.push(...sparseForward(backend, x, slices[0], weights, keep, slices[1], type));
      releaseAll(slices);
    }
    wait();
  });
  if (y === null) return [residual, ...kept];
  if (down.bias) addRows(backend, y, down.bias);
  backend.release(residual);
  return [y, ...kept];
};

type Slices = readonly [residual: TensorInfo, y: TensorInfo | null];

/** dh = dy·W of rows [from, to). @param weight of down, or its kept columns. */
function gradientOfDown(
  backend: CudaBackend,
  dy: Activations,
  weight: TensorInfo,
  from: number,
  to: number,
  multiprocessors?: number,
): TensorInfo {
  const { type } = dy;
  const dh = backend.output([to - from, weight.shape[1]!], 'float32', type);
  timesTransposed(backend, dy, weight, { d: backend.address(dh), type, multiprocessors }, from, to);
  return dh;
}

function denseBackward(
  backend: CudaBackend,
  dy: Activations,
  [ofGate, ofUp, scales]: readonly TensorInfo[],
  { gate, up, down }: KernelMlpWeights,
  dx: TensorInfo,
  type: Type,
  multiprocessors?: number,
): void {
  // Holds the gradient of up from the activation on: one matrix [D, I] less.
  const dh = gradientOfDown(backend, dy, down.weight, 0, dx.shape[0]!, multiprocessors);
  const [rows, columns] = dh.shape as [number, number];
  const extent = { rows, columns, type };
  const [g, u, d] = [ofGate!, ofUp!, dh].map((t) => placeOf(backend, t)) as [Place, Place, Place];
  const sum = { d: backend.address(dx), type, multiprocessors };
  if (scales) {
    const codes = { codes: u.address, scales: backend.address(scales) };
    const both = quantisedActivationGrad(backend, { gate: g, up: codes, dy: d }, extent);
    backend.release(dh);
    const weights = [gate.weight, up.weight];
    if (multipliesTogether(backend, weights) && hasOwnGradient(backend, rows, weights)) {
      timesTransposedTogether(backend, both, weights, sum);
      both.release();
      return;
    }
    const halves = [both.sliceColumns(0, columns), both.sliceColumns(columns, 2 * columns)];
    [gate, up].forEach(({ weight }, n) => {
      formOf(backend, weight).timesTransposed(backend, halves[n]!, weight, { ...sum, beta: n === 0 ? 0 : 1 });
    });
    both.release();
    return;
  }
  const dgate = backend.output([rows, columns], 'float32', type);
  gatedActivationGrad(backend, { gate: g, up: u, dy: d }, { dgate: placeOf(backend, dgate), dup: d }, extent);
  withActivations(backend, dgate, type, (dgate) => timesTransposed(backend, dgate, gate.weight, sum));
  withActivations(backend, dh, type, (dup) => timesTransposed(backend, dup, up.weight, { ...sum, beta: 1 }));
  backend.release(dh);
  backend.release(dgate);
}

function sparseBackward(
  backend: CudaBackend,
  dy: Activations,
  [z, both, columns]: readonly TensorInfo[],
  dx: TensorInfo,
  type: Type,
): void {
  const T = dy.x.shape[0]!;
  const dh = gradientOfDown(backend, dy, columns!, T - dx.shape[0]!, T);
  const [rows, kept] = dh.shape as [number, number];
  const extent = { rows, columns: kept, type };
  const parts = { gate: placeOf(backend, z!), up: placeOf(backend, z!, kept), dy: placeOf(backend, dh) };
  const sum = { d: backend.address(dx), type };
  if (runsOnCodes(backend, both!) && quantisesActivations(backend, extent, Object.values(parts))) {
    const dz = quantisedActivationGrad(backend, parts, extent);
    formOf(backend, both!).timesTransposed(backend, dz, both!, sum);
    dz.release();
  } else {
    const dz = backend.output([rows, 2 * kept], 'float32', type);
    const places = { dgate: placeOf(backend, dz), dup: placeOf(backend, dz, kept) };
    gatedActivationGrad(backend, parts, places, extent);
    withActivations(backend, dz, type, (dz) => timesTransposed(backend, dz, both!, sum));
    backend.release(dz);
  }
  backend.release(dh);
}

const gatedMlpGrad: CudaKernel<'SpftGatedMlpGrad'> = ({
  backend,
  inputs,
  attributes: { weights, keep, denseRows },
}) => {
  const [T] = inputs.dy!.shape as [number, number];
  const kept = Object.keys(inputs)
    .filter((name) => name.startsWith('kept'))
    .map((_, n) => inputs[`kept${n}`]!);
  const D = keep ? denseRows : T;
  const type =
    kept.length > 0 ? (backend.physical(kept[0]!) as Type) : activationType(backend, inputs.dy!, weights.gate.weight);
  const dx = backend.output([T, weights.gate.weight.shape[1]!], 'float32', type);
  // Gate and up of dense rows; of up in codes the scales too.
  const ofDense = D === 0 ? 0 : backend.physical(kept[1]!) === 'u8' ? 3 : 2;
  withActivations(backend, inputs.dy!, type, (dy) => {
    const place = placeOfDenseRows(backend, weights.down.weight, D, T);
    if (place.lane) dy.for(weights.down.weight, 'gradient');
    let wait = () => {};
    if (D > 0) {
      const dxDense = rowsOf(backend, dx, 0, D);
      wait = backend.besideRows(place.lane, () => {
        denseBackward(backend, dy, kept.slice(0, ofDense), weights, dxDense, type, place.multiprocessors);
      });
      backend.release(dxDense);
    }
    if (keep && D < T) {
      const dxSparse = rowsOf(backend, dx, D, T);
      sparseBackward(backend, dy, kept.slice(ofDense), dxSparse, type);
      backend.release(dxSparse);
    }
    wait();
  });
  return dx;
};

/** Kernels of the contract. */
export const gatedMlpKernels = {
  SpftGatedMlp: gatedMlp,
  SpftGatedMlpGrad: gatedMlpGrad,
} satisfies CudaKernels;
