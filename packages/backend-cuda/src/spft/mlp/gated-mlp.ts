/**
 * @file The frozen gated MLP on top of a residual stream (`gatedMlp` of sparse-ops).
 *
 * Kept for the backward: gate and up of dense rows, [D, I] each; of sparse rows both side by side, [S, 2·kept]; the kept rows of gate and up one
 * below the other, [2·kept, H], so that one product makes or takes both; the kept columns of down, [H, kept].
 */
import type { KernelMlpWeights } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { BYTES } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { activationType, addRows, beginWithBias, inType, rowsOf, type Selection } from '../project/layers.js';
import { gatherColumns } from '../select/columns.js';
import { gatherRows } from '../tokens/rows.js';
import { gatedActivation, gatedActivationGrad } from './gated-activation.js';

type Type = 'bf16' | 'f32';

/** d = a·bᵀ or a·b, with what d or c holds already where beta is 1. */
function multiply(
  backend: CudaBackend,
  a: TensorInfo,
  b: TensorInfo,
  d: TensorInfo,
  type: Type,
  { transposeB = false, beta = 0, c = d }: { transposeB?: boolean; beta?: number; c?: TensorInfo },
): void {
  const [m, n] = d.shape as [number, number];
  if (m === 0) return;
  inType(backend, b, type, (b) =>
    backend.multiply({
      ...{ m, n, k: a.shape[1]!, transposeB, type, outputType: type, beta },
      ...{ a: backend.address(a), b: backend.address(b), c: backend.address(c), d: backend.address(d) },
    }),
  );
}

const placeOf = (backend: CudaBackend, x: TensorInfo, column = 0) => ({
  address: backend.address(x) + column * BYTES[backend.physical(x)],
  stride: x.shape[1]!,
});

/** Rows that compute every channel. @returns gate and up, for the backward. */
function denseForward(
  backend: CudaBackend,
  x: TensorInfo,
  residual: TensorInfo,
  { gate, up, down }: KernelMlpWeights,
  y: TensorInfo,
  type: Type,
): TensorInfo[] {
  const [rows, channels] = [x.shape[0]!, gate.weight.shape[0]!];
  const made = [gate, up].map(({ weight, bias }) => {
    const z = backend.output([rows, channels], 'float32', type);
    multiply(backend, x, weight, z, type, { transposeB: true, beta: beginWithBias(backend, z, bias) });
    return z;
  });
  const h = backend.output([rows, channels], 'float32', type);
  const [g, u] = made.map((z) => placeOf(backend, z));
  gatedActivation(backend, g!, u!, placeOf(backend, h), { rows, columns: channels, type });
  multiply(backend, h, down.weight, y, type, { transposeB: true, beta: 1, c: residual });
  backend.release(h);
  return made;
}

/** Begins z [rows, 2·kept] with the kept numbers of each bias in its half; a half without one begins with zeros, as one product adds to both. */
function beginBothHalves(
  backend: CudaBackend,
  z: TensorInfo,
  biases: readonly (TensorInfo | null)[],
  indices: TensorInfo,
  kept: number,
): 0 | 1 {
  const some = biases.find((bias) => bias !== null);
  if (!some) return 0;
  let beta: 0 | 1 = 0;
  for (const [n, bias] of biases.entries()) {
    const values = bias ? backend.share(bias) : backend.output(some.shape, 'float32', 'f32');
    if (bias === null) backend.clear(values);
    beta = beginWithBias(backend, z, values, indices, { at: n * kept, columns: kept });
    backend.release(values);
  }
  return beta;
}

/** Rows that compute the kept channels. @returns gate and up side by side, and the gathered weights. */
function sparseForward(
  backend: CudaBackend,
  x: TensorInfo,
  residual: TensorInfo,
  { gate, up, down }: KernelMlpWeights,
  { indices, kept }: Selection,
  y: TensorInfo,
  type: Type,
): TensorInfo[] {
  const [rows, inputs] = x.shape as [number, number];
  const both = backend.output([2 * kept, inputs], 'float32', backend.physical(gate.weight));
  for (const [n, { weight }] of [gate, up].entries()) {
    const half = rowsOf(backend, both, n * kept, (n + 1) * kept);
    gatherRows(backend, weight, indices, half);
    backend.release(half);
  }
  const z = backend.output([rows, 2 * kept], 'float32', type);
  const beta = beginBothHalves(backend, z, [gate.bias, up.bias], indices, kept);
  multiply(backend, x, both, z, type, { transposeB: true, beta });
  const h = backend.output([rows, kept], 'float32', type);
  gatedActivation(backend, placeOf(backend, z), placeOf(backend, z, kept), placeOf(backend, h), {
    rows,
    columns: kept,
    type,
  });
  const columns = gatherColumns(backend, down.weight, indices);
  multiply(backend, h, columns, y, type, { transposeB: true, beta: 1, c: residual });
  backend.release(h);
  return [z, both, columns];
}

const gatedMlp: CudaKernel<'SpftGatedMlp'> = ({ backend, inputs, attributes: { weights, keep, denseRows } }) => {
  const { gate, down } = weights;
  const T = inputs.x.shape[0]!;
  const type = activationType(backend, inputs.x, gate.weight);
  const [x, residual] = [backend.as(inputs.x, type), backend.as(inputs.residual, type)];
  const y = backend.output(inputs.residual.shape, 'float32', type);
  const D = keep ? denseRows : T;
  const kept: TensorInfo[] = [];
  const slice = (from: number, to: number) => [x, residual, y].map((t) => rowsOf(backend, t, from, to)) as Slices;
  if (D > 0) {
    const slices = slice(0, D);
    kept.push(...denseForward(backend, slices[0], slices[1], weights, slices[2], type));
    for (const t of slices) backend.release(t);
  }
  if (keep && D < T) {
    const slices = slice(D, T);
    kept.push(...sparseForward(backend, slices[0], slices[1], weights, keep, slices[2], type));
    for (const t of slices) backend.release(t);
  }
  if (down.bias) addRows(backend, y, down.bias);
  backend.release(x);
  backend.release(residual);
  return [y, ...kept];
};

type Slices = [TensorInfo, TensorInfo, TensorInfo];

function denseBackward(
  backend: CudaBackend,
  dy: TensorInfo,
  [gate, up]: readonly TensorInfo[],
  weights: KernelMlpWeights,
  dx: TensorInfo,
  type: Type,
): void {
  const [rows, channels] = gate!.shape as [number, number];
  // Holds the gradient of up from the activation on: one matrix [D, I] less.
  const dh = backend.output([rows, channels], 'float32', type);
  multiply(backend, dy, weights.down.weight, dh, type, {});
  const dgate = backend.output([rows, channels], 'float32', type);
  const [g, u, d, dg] = [gate!, up!, dh, dgate].map((t) => placeOf(backend, t));
  gatedActivationGrad(
    backend,
    { gate: g!, up: u!, dy: d! },
    { dgate: dg!, dup: d! },
    { rows, columns: channels, type },
  );
  multiply(backend, dgate, weights.gate.weight, dx, type, {});
  multiply(backend, dh, weights.up.weight, dx, type, { beta: 1 });
  backend.release(dh);
  backend.release(dgate);
}

function sparseBackward(
  backend: CudaBackend,
  dy: TensorInfo,
  [z, both, columns]: readonly TensorInfo[],
  dx: TensorInfo,
  type: Type,
): void {
  const [rows, kept] = [z!.shape[0]!, columns!.shape[1]!];
  const dh = backend.output([rows, kept], 'float32', type);
  multiply(backend, dy, columns!, dh, type, {});
  const dz = backend.output([rows, 2 * kept], 'float32', type);
  gatedActivationGrad(
    backend,
    { gate: placeOf(backend, z!), up: placeOf(backend, z!, kept), dy: placeOf(backend, dh) },
    { dgate: placeOf(backend, dz), dup: placeOf(backend, dz, kept) },
    { rows, columns: kept, type },
  );
  multiply(backend, dz, both!, dx, type, {});
  backend.release(dh);
  backend.release(dz);
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
  const dy = backend.as(inputs.dy!, type);
  const dx = backend.output([T, weights.gate.weight.shape[1]!], 'float32', type);
  if (D > 0) {
    const [dyDense, dxDense] = [rowsOf(backend, dy, 0, D), rowsOf(backend, dx, 0, D)];
    denseBackward(backend, dyDense, kept, weights, dxDense, type);
    backend.release(dyDense);
    backend.release(dxDense);
  }
  if (keep && D < T) {
    const [dySparse, dxSparse] = [rowsOf(backend, dy, D, T), rowsOf(backend, dx, D, T)];
    sparseBackward(backend, dySparse, kept.slice(D > 0 ? 2 : 0), dxSparse, type);
    backend.release(dySparse);
    backend.release(dxSparse);
  }
  backend.release(dy);
  return dx;
};

/** Kernels of the contract. */
export const gatedMlpKernels = {
  SpftGatedMlp: gatedMlp,
  SpftGatedMlpGrad: gatedMlpGrad,
} satisfies CudaKernels;
