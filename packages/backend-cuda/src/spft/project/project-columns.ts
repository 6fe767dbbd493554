/**
 * @file A frozen linear layer with its branch on top of a residual stream (`projectColumns` of sparse-ops): o. The products add to the
 * residual while they write, so the sum costs no pass of its own.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { LowRank } from '../../device/product.js';
import { runsOnCodes } from '../../forms/e4m3.js';
import { Activations, formOf, keptColumns, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import { columnsOf, fitSideBySide, quantiseSideBySide } from '../../forms/quantised-parts.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { gatherColumns } from '../select/gather-columns.js';
import { maskColumns, maskInPlace } from '../select/mask-columns.js';
import { scatterColumns } from '../select/scatter-columns.js';
import { addedByProduct, gradientAddedByProduct } from './added-branches.js';
import {
  branchGradients,
  branchInputs,
  groupBranches,
  withMagnitudes,
  writeBranches,
  writeBranchGradient,
} from './branches.js';
import { doraNorms, rescaleGrad, rescaleTo } from './dora-linear.js';
import {
  activationType,
  addRows,
  IN_TURN,
  LANE,
  type Layer,
  leaveRoom,
  masks,
  placeOfDenseRows,
  rowsOf,
} from './layers.js';

type Type = 'bf16' | 'f32';

/** y [rows, out] = x·Wᵀ, or of the kept columns of both, on top of `below` where there is something, which may be y. @returns the gathered
 * columns of the weight, for the backward. */
function forward(
  backend: CudaBackend,
  x: TensorInfo,
  below: TensorInfo | null,
  { weight, keep }: Layer,
  onKept: boolean,
  y: TensorInfo,
  type: Type,
  lowRank?: LowRank,
  multiprocessors?: number,
): TensorInfo | null {
  if (y.shape[0] === 0) return null;
  const onTop = below ? { beta: 1 as const, c: backend.address(below) } : {};
  const sum = { d: backend.address(y), type, ...onTop, lowRank, multiprocessors };
  if (!onKept) {
    withActivations(backend, x, type, (x) => timesWeight(backend, x, weight, sum));
    return null;
  }
  const columns = keptColumns(backend, weight, keep!.indices);
  const part = columnsOf(backend, x, keep!.indices);
  if (runsOnCodes(backend, columns) && fitSideBySide(backend, type, [part])) {
    const codes = quantiseSideBySide(backend, y.shape[0]!, type, [part]);
    formOf(backend, columns).times(backend, codes, columns, sum);
    codes.release();
    return columns;
  }
  const values = gatherColumns(backend, x, keep!.indices);
  withActivations(backend, values, type, (x) => timesWeight(backend, x, columns, sum));
  backend.release(values);
  return columns;
}

/** h, and the kept columns of the weight: what the gradient wants, and all that is made where nobody reads y. */
function forGradient(
  backend: CudaBackend,
  x: TensorInfo,
  residual: TensorInfo,
  layer: Layer,
  denseRows: number,
): TensorInfo[] {
  const { weight, keep, lora } = layer;
  const type = activationType(backend, x, weight);
  const group = groupBranches([lora]);
  const outputs = [backend.share(residual)];
  if (group.rank > 0) {
    const converted = backend.as(x, type);
    outputs.push(branchInputs(backend, converted, group, type));
    backend.release(converted);
  }
  if (keep && denseRows < x.shape[0]! && !masks(backend, layer, x.shape[0]!, denseRows))
    outputs.push(keptColumns(backend, weight, keep.indices));
  return outputs;
}

const projectColumns: CudaKernel<'SpftProjectColumns'> = ({
  backend,
  inputs,
  attributes: { layer, denseRows, withOutput = true },
}) => {
  // What a magnitude rescales is wanted by its own gradient.
  if (!withOutput && !layer.lora?.magnitude) return forGradient(backend, inputs.x, inputs.residual, layer, denseRows);
  const T = inputs.x.shape[0]!;
  const type = activationType(backend, inputs.x, layer.weight);
  const group = groupBranches([layer.lora]);
  const x = backend.as(inputs.x, type);
  const residual = backend.as(inputs.residual, type);
  const y = backend.output([T, layer.weight.shape[0]!], 'float32', type);
  const D = layer.keep ? denseRows : T;
  // What a magnitude rescales is without the residual.
  const magnitude = layer.lora?.magnitude;
  let below = magnitude ? null : residual;
  const masked = masks(backend, layer, T, D);
  const beside = !magnitude && (D === T || masked) && leaveRoom(backend, [layer.weight], T);
  const h = group.rank > 0 ? branchInputs(backend, x, group, type, beside) : null;
  const added = h && !beside && D === T ? addedByProduct(backend, layer.weight, h, group, 0, type) : null;
  if (h && !beside && !added) {
    writeBranches(backend, [y], h, group, type, [below && { matrix: below, from: 0 }]);
    below = y;
  }
  let norms: TensorInfo | null = null;
  if (magnitude) {
    const { a, b, scaling } = layer.lora!;
    const lane = leaveRoom(backend, [layer.weight], T) ? LANE.branches : 0;
    norms = backend.beside(lane, () => doraNorms(backend, layer.weight, a, b, scaling));
  }
  let gathered: TensorInfo | null = null;
  if (D === T) forward(backend, x, below, layer, false, y, type, added ?? undefined);
  else if (masked) {
    const values = maskColumns(backend, x, layer.keep!.indices, D);
    forward(backend, values, below, layer, false, y, type);
    backend.release(values);
  } else {
    const place = placeOfDenseRows(backend, layer.weight, D, T);
    let wait = () => {};
    for (const [from, to] of [[0, D] as const, [D, T] as const]) {
      const slices = [x, y, ...(below ? [below] : [])].map((t) => rowsOf(backend, t, from, to));
      const [values, result, under = null] = slices as [TensorInfo, TensorInfo, TensorInfo?];
      if (from === D) gathered = forward(backend, values, under, layer, true, result, type);
      else {
        const { lane, multiprocessors } = place;
        wait = backend.besideRows(lane, () =>
          forward(backend, values, under, layer, false, result, type, undefined, multiprocessors),
        );
      }
      for (const slice of slices) backend.release(slice);
    }
    wait();
  }
  if (h && beside) writeBranches(backend, [y], h, group, type, [{ matrix: y, from: 0 }]);
  if (layer.bias) addRows(backend, y, layer.bias);
  const outputs = h ? [y, h] : [y];
  if (magnitude && norms) {
    const rescaled = backend.output(y.shape, 'float32', type);
    rescaleTo(backend, y, { magnitude, norms, residual }, rescaled);
    outputs[0] = rescaled;
    outputs.push(y, norms);
  }
  if (gathered) outputs.push(gathered);
  backend.release(x);
  backend.release(residual);
  return outputs;
};

const projectColumnsGrad: CudaKernel<'SpftProjectColumnsGrad'> = ({
  backend,
  inputs,
  attributes: { layer, denseRows },
}) => {
  const { weight, keep } = layer;
  const [T, columns] = inputs.x!.shape as [number, number];
  const type = activationType(backend, inputs.x!, weight);
  const group = groupBranches([layer.lora]);
  const x = backend.as(inputs.x!, type);
  const given = backend.as(inputs.dy!, type);
  const magnitude = layer.lora?.magnitude;
  const [dy, dmagnitude] = magnitude
    ? rescaleGrad(backend, inputs.z0!, magnitude, inputs.norms0!, given)
    : [backend.share(given), null];
  backend.release(given);
  const dx = backend.output([T, columns], 'float32', type);
  const D = keep ? denseRows : T;
  const masked = masks(backend, layer, T, D);
  const beside = (D === T || masked) && leaveRoom(backend, [weight], T);
  const ofBranch = group.rank > 0 ? branchGradients(backend, x, inputs.h!, [dy], group, type, beside) : null;
  const ofDy = new Activations(backend, dy, type);
  /** Few dense rows are made beside the others; the branch's part comes on top of both then. */
  const { lane, multiprocessors } = masked || !keep ? IN_TURN : placeOfDenseRows(backend, weight, D, T);
  const begun = lane !== 0;
  if (begun) ofDy.for(weight, 'gradient');
  const wait = backend.besideRows(lane, () => {
    const sum = { d: backend.address(dx), type, multiprocessors };
    if (begun) timesTransposed(backend, ofDy, weight, sum, 0, D);
  });
  // Sparse rows first: they are written with zeros between the kept channels.
  if (masked) {
    timesTransposed(backend, ofDy, weight, { d: backend.address(dx), type });
    maskInPlace(backend, dx, keep!.indices, D);
  } else if (keep && D < T) {
    const dxSparse = rowsOf(backend, dx, D, T);
    const values = backend.output([T - D, keep.kept], 'float32', type);
    timesTransposed(backend, ofDy, inputs.kept0!, { d: backend.address(values), type }, D, T);
    scatterColumns(backend, values, keep.indices, dxSparse);
    for (const made of [dxSparse, values]) backend.release(made);
  }
  wait();
  const adds = !beside && !masked && !begun && formOf(backend, weight).addsLowRank?.(backend, weight, D, true);
  const added = ofBranch && adds ? gradientAddedByProduct(backend, ofBranch.dh, group, type) : null;
  const branchFirst = ofBranch !== null && !beside && !added && !begun;
  if (branchFirst) writeBranchGradient(backend, dx, ofBranch.dh, group, masked ? 0 : D, type);
  if (D > 0 && !masked && !begun) {
    const sum = { d: backend.address(dx), type, beta: branchFirst ? 1 : 0, lowRank: added ?? undefined } as const;
    timesTransposed(backend, ofDy, weight, sum, 0, D);
  }
  if (ofBranch && !branchFirst && (!added || D < T)) {
    // To the rows whose product has not added it.
    const slices = [dx, ofBranch.dh].map((t) => rowsOf(backend, t, added ? D : 0, T)) as [TensorInfo, TensorInfo];
    writeBranchGradient(backend, ...slices, group, 0, type);
    for (const slice of slices) backend.release(slice);
  }
  if (ofBranch) backend.release(ofBranch.dh);
  ofDy.release();
  backend.release(x);
  backend.release(dy);
  return [dx, ...withMagnitudes([layer], ofBranch?.gradients ?? [], [dmagnitude])];
};

/** Kernels of the contract. */
export const projectColumnsKernels = {
  SpftProjectColumns: projectColumns,
  SpftProjectColumnsGrad: projectColumnsGrad,
} satisfies CudaKernels;
