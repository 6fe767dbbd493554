/**
 * @file Several frozen linear layers of one input with their branches (`projectRows` of sparse-ops): q, k and v.
 *
 * Everything is a product that writes or adds where its result belongs: rows [0, D) and [D, T) of one matrix, columns of one h, one dx.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { type Activations, keptRows, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { gatherColumns } from '../select/gather-columns.js';
import { maskColumns, maskInPlace } from '../select/mask-columns.js';
import { scatterColumns } from '../select/scatter-columns.js';
import {
  branchGradients,
  branchInputs,
  groupBranches,
  withMagnitudes,
  writeBranches,
  writeBranchGradient,
} from './branches.js';
import { doraNorms, rescaleGrad, rescaleTo } from './dora-linear.js';
import { activationType, addRows, beginWithBias, type Layer, masks, rowsOf } from './layers.js';

type Type = 'bf16' | 'f32';

/** y [D, out] = x·Wᵀ + bias of the first rows, on top of what y holds where it is `begun`. */
function dense(backend: CudaBackend, x: Activations, { weight, bias }: Layer, y: TensorInfo, begun: boolean): void {
  const rows = y.shape[0]!;
  if (rows === 0) return;
  const beta = begun ? 1 : beginWithBias(backend, y, bias);
  timesWeight(backend, x, weight, { d: backend.address(y), type: x.type, beta }, 0, rows);
  if (begun && bias) addRows(backend, y, bias);
}

/** y [T − D, out] = the kept channels of the last rows and zeros between them. @returns the gathered rows of the weight, for the backward. */
function sparse(backend: CudaBackend, x: Activations, { weight, bias, keep }: Layer, y: TensorInfo): TensorInfo {
  const [T, rows] = [x.x.shape[0]!, y.shape[0]!];
  const { indices, kept } = keep!;
  const values = backend.output([rows, kept], 'float32', x.type);
  const beta = beginWithBias(backend, values, bias, indices);
  const gathered = keptRows(backend, [weight], indices);
  timesWeight(backend, x, gathered, { d: backend.address(values), type: x.type, beta }, T - rows, T);
  scatterColumns(backend, values, indices, y);
  backend.release(values);
  return gathered;
}

const projectRows: CudaKernel<'SpftProjectRows'> = ({ backend, inputs: { x }, attributes: { layers, denseRows } }) => {
  const T = x.shape[0]!;
  const type = activationType(backend, x, layers[0]!.weight);
  const group = groupBranches(layers.map(({ lora }) => lora));
  const masked = layers.map((layer) => masks(backend, layer, T, denseRows));
  return withActivations(backend, x, type, (x) => {
    const ys = layers.map(({ weight }) => backend.output([T, weight.shape[0]!], 'float32', type));
    const D = layers.map(({ keep }) => (keep ? denseRows : T));
    // Sparse rows first: they are written with zeros between the kept channels.
    const gathered = layers.flatMap((layer, n) => {
      if (D[n] === T) return [];
      if (masked[n]) {
        // Of all channels; those that are not kept are zeroed where the branch is added.
        dense(backend, x, layer, ys[n]!, false);
        if (group.of[n] === null) maskInPlace(backend, ys[n]!, layer.keep!.indices, D[n]!);
        return [];
      }
      const slice = rowsOf(backend, ys[n]!, D[n]!, T);
      const weight = sparse(backend, x, layer, slice);
      backend.release(slice);
      return [weight];
    });
    const h = group.rank > 0 ? branchInputs(backend, x.x, group, type) : null;
    if (h) {
      const below = ys.map((matrix, n) => {
        if (masked[n]) return { matrix, from: 0, mask: { indices: layers[n]!.keep!.indices, from: D[n]! } };
        return D[n]! < T ? { matrix, from: D[n]! } : null;
      });
      writeBranches(backend, ys, h, group, type, below);
    }
    layers.forEach((layer, n) => {
      if (masked[n]) return;
      const slice = rowsOf(backend, ys[n]!, 0, D[n]!);
      dense(backend, x, layer, slice, group.of[n] !== null);
      backend.release(slice);
    });
    if (h === null) return [...ys, ...gathered];
    const kept = [h];
    const outputs = ys.map((y, n) => {
      const { weight, lora } = layers[n]!;
      if (!lora?.magnitude) return y;
      const norms = doraNorms(backend, weight, lora.a, lora.b, lora.scaling);
      const rescaled = backend.output(y.shape, 'float32', type);
      rescaleTo(backend, y, { magnitude: lora.magnitude, norms }, rescaled);
      kept.push(y, norms);
      return rescaled;
    });
    return [...outputs, ...kept, ...gathered];
  });
};

/** dx [rows, in] = or += dy·W, or dy's kept columns times the kept rows of W that were `gathered`. */
function backward(
  backend: CudaBackend,
  dy: TensorInfo,
  { weight, keep }: Layer,
  gathered: TensorInfo | null,
  dx: TensorInfo,
  beta: 0 | 1,
  type: Type,
): void {
  if (dx.shape[0] === 0) return;
  const values = gathered ? gatherColumns(backend, dy, keep!.indices) : backend.share(dy);
  const sum = { d: backend.address(dx), type, beta };
  withActivations(backend, values, type, (dy) => timesTransposed(backend, dy, gathered ?? weight, sum));
  backend.release(values);
}

const projectRowsGrad: CudaKernel<'SpftProjectRowsGrad'> = ({
  backend,
  inputs,
  attributes: { layers, denseRows, withInput = true },
}) => {
  const T = inputs.x!.shape[0]!;
  const type = activationType(backend, inputs.x!, layers[0]!.weight);
  const group = groupBranches(layers.map(({ lora }) => lora));
  const x = backend.as(inputs.x!, type);
  const dmagnitudes: (TensorInfo | null)[] = [];
  const dys = layers.map(({ lora }, n) => {
    const dy = backend.as(inputs[`dy${n}`]!, type);
    if (!lora?.magnitude) {
      dmagnitudes.push(null);
      return dy;
    }
    const [dz, dmagnitude] = rescaleGrad(backend, inputs[`z${n}`]!, lora.magnitude, inputs[`norms${n}`]!, dy);
    backend.release(dy);
    dmagnitudes.push(dmagnitude);
    return dz;
  });
  const dx = withInput ? backend.output(x.shape, 'float32', type) : null;
  const ofBranches = group.rank > 0 ? branchGradients(backend, x, inputs.h!, dys, group, type) : null;
  if (ofBranches) {
    if (dx) writeBranchGradient(backend, dx, ofBranches.dh, group, T, type);
    backend.release(ofBranches.dh);
  }
  let nextGathered = 0;
  layers.forEach((layer, n) => {
    if (dx === null) return;
    const beta = n === 0 && ofBranches === null ? 0 : 1;
    const D = layer.keep ? denseRows : T;
    if (masks(backend, layer, T, denseRows)) {
      const dy = maskColumns(backend, dys[n]!, layer.keep!.indices, denseRows);
      backward(backend, dy, layer, null, dx, beta, type);
      backend.release(dy);
      return;
    }
    if (D === T) {
      backward(backend, dys[n]!, layer, null, dx, beta, type);
      return;
    }
    const slices = [
      rowsOf(backend, dys[n]!, 0, D),
      rowsOf(backend, dx, 0, D),
      rowsOf(backend, dys[n]!, D, T),
      rowsOf(backend, dx, D, T),
    ];
    backward(backend, slices[0]!, layer, null, slices[1]!, beta, type);
    backward(backend, slices[2]!, layer, inputs[`kept${nextGathered++}`]!, slices[3]!, beta, type);
    for (const slice of slices) backend.release(slice);
  });
  for (const made of [x, ...dys]) backend.release(made);
  return [...(dx ? [dx] : []), ...withMagnitudes(layers, ofBranches?.gradients ?? [], dmagnitudes)];
};

/** Kernels of the contract. */
export const projectRowsKernels = {
  SpftProjectRows: projectRows,
  SpftProjectRowsGrad: projectRowsGrad,
} satisfies CudaKernels;
