/** @file Frozen linear layers: all of a weight, its kept rows, or its kept columns, in whatever form it is stored (forms/). */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { keptColumns, keptRows, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import { inScope } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';
import { takesFewRows, timesFewRows } from './few-rows.js';
import { activationType } from './layers.js';

type Info = tf.TensorInfo;

/** y += bias in place, of its elements `indices` where they are given. y must be the caller's own. */
export function addBias(backend: CudaBackend, y: Info, bias: Info, indices?: Info): void {
  const [rows, n] = y.shape as [number, number];
  const size = rows * n;
  const defines = { Y: C_TYPE[backend.physical(y)], TYPE_B: C_TYPE[backend.physical(bias)] };
  const kernel = backend.kernel('bias', 'add_bias', 'pppil', defines);
  const addresses = [backend.address(y), backend.address(bias), indices ? backend.address(indices) : 0];
  backend.launch(kernel, [Math.min(4096, Math.ceil(size / 256))], [256], [...addresses, n, size]);
}

/** x·Wᵀ or, `transposed`, x·W as a new tensor, owned by the caller. */
function times(backend: CudaBackend, x: Info, weight: Info, transposed: boolean): Info {
  const type = activationType(backend, x, weight);
  const [inner, n] = transposed ? weight.shape : [weight.shape[1]!, weight.shape[0]!];
  return inScope(backend, (scope) => {
    const y = scope.output([x.shape[0]!, n!], 'float32', type);
    if (inner === 0) backend.clear(y);
    else {
      const sum = { d: backend.address(y), type };
      withActivations(backend, x, type, (x) => (transposed ? timesTransposed : timesWeight)(backend, x, weight, sum));
    }
    return y;
  });
}

/**
 * x·Wᵀ + b.
 * @param x [T, in]. @param weight [out, in]. @param bias [out].
 * @returns [T, out] owned by the caller: bf16 where x is and W is no float, else float.
 */
export function linear(backend: CudaBackend, x: Info, weight: Info, bias?: Info): Info {
  // What few rows give is not rounded to codes on its way.
  const few = inScope(backend, (scope) => {
    if (!takesFewRows(x)) return null;
    const rows = scope.temporary(backend.as(x, activationType(backend, x, weight)));
    const layers = [{ weight, bias: bias ?? null }];
    return timesFewRows(backend, { x: rows, layers, norm: null, residual: null, gated: false }, scope);
  });
  if (few) return few[0]!;
  const y = times(backend, x, weight, false);
  if (bias) addBias(backend, y, bias);
  return y;
}

/** dy·W: [T, in], owned by the caller. */
export const linearGrad = (backend: CudaBackend, dy: Info, weight: Info): Info => times(backend, dy, weight, true);

/** x·W[indices]ᵀ + b[indices]: [T, kept], owned by the caller. */
export function linearKeptRows(backend: CudaBackend, x: Info, weight: Info, indices: Info, bias?: Info): Info {
  return inScope(backend, (scope) => {
    const kept = scope.temporary(keptRows(backend, [weight], [indices]));
    const y = scope.result(times(backend, x, kept, false));
    if (bias) addBias(backend, y, bias, indices);
    return y;
  });
}

/** dy·W[indices]: [T, in], owned by the caller. */
export function linearKeptRowsGrad(backend: CudaBackend, dy: Info, weight: Info, indices: Info): Info {
  return inScope(backend, (scope) => times(backend, dy, scope.temporary(keptRows(backend, [weight], [indices])), true));
}

/** x·W[:, indices]ᵀ + b for x [T, kept]: [T, out], owned by the caller. */
export function linearKeptColumns(backend: CudaBackend, x: Info, weight: Info, indices: Info, bias?: Info): Info {
  return inScope(backend, (scope) => {
    const kept = scope.temporary(keptColumns(backend, weight, indices));
    const y = scope.result(times(backend, x, kept, false));
    if (bias) addBias(backend, y, bias);
    return y;
  });
}

/** dy·W[:, indices]: [T, kept], owned by the caller. */
export function linearKeptColumnsGrad(backend: CudaBackend, dy: Info, weight: Info, indices: Info): Info {
  return inScope(backend, (scope) => times(backend, dy, scope.temporary(keptColumns(backend, weight, indices)), true));
}

declareVariants('bias', combinations({ Y: FLOATS, TYPE_B: FLOATS }));

/** Kernels of the contract. */
export const linearKernels = {
  SpftLinear: ({ backend, inputs: { x, weight, bias } }) => linear(backend, x, weight, bias),
  SpftLinearGrad: ({ backend, inputs: { dy, weight } }) => linearGrad(backend, dy, weight),
  SpftLinearKeptRows: ({ backend, inputs: { x, weight, indices, bias } }) =>
    linearKeptRows(backend, x, weight, indices, bias),
  SpftLinearKeptRowsGrad: ({ backend, inputs: { dy, weight, indices } }) =>
    linearKeptRowsGrad(backend, dy, weight, indices),
  SpftLinearKeptColumns: ({ backend, inputs: { x, weight, indices, bias } }) =>
    linearKeptColumns(backend, x, weight, indices, bias),
  SpftLinearKeptColumnsGrad: ({ backend, inputs: { dy, weight, indices } }) =>
    linearKeptColumnsGrad(backend, dy, weight, indices),
} satisfies CudaKernels;
