/**
 * @file Several frozen linear layers of one input with their branches (`projectRows` of sparse-ops): q, k and v.
 *
 * Everything is a product that writes or adds where its result belongs: rows [0, D) and [D, T) of one matrix, columns of one h, one dx.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { LowRank } from '../../device/product.js';
import { hasOwnGradient, multipliesTogether, timesTransposedTogether } from '../../forms/e4m3.js';
import { type Activations, formOf, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import { columnsOf, fitSideBySide, quantiseSideBySide } from '../../forms/quantised-parts.js';
import type { Lane } from '../../recording/asides.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { maskColumns, maskInPlace } from '../select/mask-columns.js';
import { addedByProduct, gradientAddedByProduct, rowsFrom, without } from './added-branches.js';
import type { OutputPart } from './branch-outputs.js';
import {
  type Below,
  type BranchGroup,
  branchGradients,
  branchInputs,
  groupBranches,
  outputParts,
  withMagnitudes,
  writeBranches,
  writeBranchGradient,
} from './branches.js';
import { doraNorms, rescaleGrad, rescaleTo } from './dora-linear.js';
import { keptBackward, keptForward } from './kept-rows.js';
import {
  activationType,
  addRows,
  beginWithBias,
  IN_TURN,
  LANE,
  type Layer,
  leaveRoom,
  masks,
  placeOfDenseRows,
  rowsOf,
} from './layers.js';
import { PendingBranches } from './pending-branches.js';
import { leavesProduct, productToTurn } from './pending-products.js';

type Type = 'bf16' | 'f32';

/** y [D, out] = x·Wᵀ + bias of the first rows, on top of what y holds where it is `begun`. @param lowRank a branch to be added. */
function dense(
  backend: CudaBackend,
  x: Activations,
  { weight, bias }: Layer,
  y: TensorInfo,
  begun: boolean,
  lowRank?: LowRank,
  multiprocessors?: number,
): void {
  const rows = y.shape[0]!;
  if (rows === 0) return;
  const beta = begun ? 1 : beginWithBias(backend, y, bias);
  timesWeight(backend, x, weight, { d: backend.address(y), type: x.type, beta, lowRank, multiprocessors }, 0, rows);
  if (begun && bias) addRows(backend, y, bias);
}

/** The branches that may be left to whoever wants the ys, to be added to what these hold: where one launch adds those of all layers. */
function branchesToLeave(
  backend: CudaBackend,
  ys: readonly TensorInfo[],
  h: TensorInfo,
  group: BranchGroup,
  below: readonly Below[],
  type: Type,
): OutputPart[] | null {
  const fits = type === 'bf16' && h.shape[0]! > 0 && group.of.every((part) => part && !part.branch.magnitude);
  return fits ? outputParts(backend, ys, h, group, below) : null;
}

const masksOf = (below: readonly Below[]) => below.flatMap(({ mask }) => (mask ? [mask.indices] : []));

const projectRows: CudaKernel<'SpftProjectRows'> = ({
  backend,
  inputs: { x },
  attributes: { layers, denseRows, turnedNext = false },
}) => {
  const T = x.shape[0]!;
  const type = activationType(backend, x, layers[0]!.weight);
  const group = groupBranches(layers.map(({ lora }) => lora));
  const masked = layers.map((layer) => masks(backend, layer, T, denseRows));
  const D = layers.map(({ keep }) => (keep ? denseRows : T));
  const gathers = D.some((rows, n) => rows < T && !masked[n]);
  return withActivations(backend, x, type, (x) => {
    if (group.rank > 0 && !gathers && leaveRoom(backend, weightsOf(layers), T))
      return besideBranches(backend, x, layers, group, D, type, turnedNext);
    const ys = layers.map(({ weight }) => backend.output([T, weight.shape[0]!], 'float32', type));
    layers.forEach((layer, n) => {
      if (!masked[n]) return;
      // Of all channels; those that are not kept are zeroed where the branch is added.
      dense(backend, x, layer, ys[n]!, false);
      if (group.of[n] === null) maskInPlace(backend, ys[n]!, layer.keep!.indices, D[n]!);
    });
    const gathering = layers.flatMap((_, n) => (D[n]! < T && !masked[n] ? [n] : []));
    const gathered: TensorInfo[] = [];
    const gather = () => {
      if (gathering.length === 0) return;
      const slices = gathering.map((n) => rowsOf(backend, ys[n]!, denseRows, T));
      const of = gathering.map((n) => layers[n]!);
      gathered.push(keptForward(backend, x, of, slices));
      for (const slice of slices) backend.release(slice);
    };
    const h = group.rank > 0 ? branchInputs(backend, x.x, group, type) : null;
    const onTop = ys.map((matrix, n) => ({
      ...{ matrix, from: 0 },
      ...(masked[n] && { mask: { indices: layers[n]!.keep!.indices, from: D[n]! } }),
    }));
    // Of large dense layers that gains nothing: there a product adds to its branch for less than the branch takes to add to the product.
    const left = h && turnedNext && gathering.length > 0 ? branchesToLeave(backend, ys, h, group, onTop, type) : null;
    // Branches that are made here are added to what is there of sparse rows, with zeros between the kept channels.
    if (!left) gather();
    // Where a product can, it adds the branch by itself.
    const added = layers.map(({ weight }, n) =>
      h && !left && !masked[n] && D[n] === T ? addedByProduct(backend, weight, h, group, n, type) : null,
    );
    if (h && !left) {
      const below = onTop.map((below, n) => (masked[n] ? below : D[n]! < T ? { ...below, from: D[n]! } : null));
      writeBranches(backend, ys, h, without(group, added), type, below);
    }
    const turns = turnedNext && layers.slice(0, 2).every((layer, n) => added[n] && leavesProduct(backend, x.x, layer));
    const waits = layers.map((layer, n) => {
      if (masked[n]) return () => {};
      if (turns && n < 2) {
        backend.release(ys[n]!);
        ys[n] = productToTurn(backend, x.x, layer, h!, added[n]!);
        return () => {};
      }
      const slice = rowsOf(backend, ys[n]!, 0, D[n]!);
      // Without `left` the others' products are made by now.
      const { lane, multiprocessors } = left ? placeOfDenseRows(backend, layer.weight, D[n]!, T) : IN_TURN;
      if (lane) x.for(layer.weight, 'input');
      const begun = group.of[n] !== null && !left && !added[n];
      const wait = backend.besideRows(lane, () =>
        dense(backend, x, layer, slice, begun, added[n] ?? undefined, multiprocessors),
      );
      backend.release(slice);
      return wait;
    });
    if (left) {
      // What chooses channels may be under way until now.
      gather();
      for (const wait of waits) wait();
      new PendingBranches(backend, ys, left, h!, group, masksOf(onTop));
    }
    if (h === null) return [...ys, ...gathered];
    return [...withMagnitude(backend, layers, ys, h, type), ...gathered];
  });
};

/** What the op gives, of what it is without magnitudes: outputs, h, and for each magnitude what its gradient wants. */
function withMagnitude(
  backend: CudaBackend,
  layers: readonly Layer[],
  ys: readonly TensorInfo[],
  h: TensorInfo,
  type: Type,
  allNorms = normsOf(backend, layers, 0),
): TensorInfo[] {
  const kept = [h];
  const outputs = ys.map((y, n) => {
    const { lora } = layers[n]!;
    if (!lora?.magnitude) return y;
    const norms = allNorms[n]!;
    const rescaled = backend.output(y.shape, 'float32', type);
    rescaleTo(backend, y, { magnitude: lora.magnitude, norms }, rescaled);
    kept.push(y, norms);
    return rescaled;
  });
  return [...outputs, ...kept];
}

const weightsOf = (layers: readonly Layer[]) => layers.map(({ weight }) => weight);

/** Lengths of the rows of each layer with a magnitude. Nothing of a step's batch is in them, so they are made beside what is. */
const normsOf = (backend: CudaBackend, layers: readonly Layer[], lane: Lane): (TensorInfo | null)[] =>
  layers.map(({ weight, lora }) =>
    lora?.magnitude ? backend.beside(lane, () => doraNorms(backend, weight, lora.a, lora.b, lora.scaling)) : null,
  );

/** The op where no channels are gathered: the products of all layers and what branches begin with beside one another, then branches on top. */
function besideBranches(
  backend: CudaBackend,
  x: Activations,
  layers: readonly Layer[],
  group: BranchGroup,
  D: readonly number[],
  type: Type,
  turnedNext: boolean,
): TensorInfo[] {
  const T = x.x.shape[0]!;
  // What several products take is made before they are begun.
  for (const { weight } of layers) x.for(weight, 'input');
  const h = branchInputs(backend, x.x, group, type, true);
  const norms = normsOf(backend, layers, LANE.branches);
  const make = (n: number): TensorInfo => {
    const layer = layers[n]!;
    const y = backend.output([T, layer.weight.shape[0]!], 'float32', type);
    dense(backend, x, layer, y, false);
    if (D[n]! < T && group.of[n] === null) maskInPlace(backend, y, layer.keep!.indices, D[n]!);
    return y;
  };
  // The first is the largest: the others are begun before it, beside it.
  const others = layers.slice(1).map((_, n) => backend.beside(LANE.products, () => make(n + 1)));
  const ys = [make(0), ...others];
  const below = ys.map((matrix, n) => ({
    ...{ matrix, from: 0 },
    ...(D[n]! < T && { mask: { indices: layers[n]!.keep!.indices, from: D[n]! } }),
  }));
  const left = turnedNext ? branchesToLeave(backend, ys, h, group, below, type) : null;
  if (left) new PendingBranches(backend, ys, left, h, group, masksOf(below));
  else writeBranches(backend, ys, h, group, type, below);
  return withMagnitude(backend, layers, ys, h, type, norms);
}

/** Whether `backward` of these is one product of codes. */
const isOneProduct = (backend: CudaBackend, dys: readonly TensorInfo[], weights: readonly TensorInfo[], type: Type) =>
  weights.length > 1 &&
  multipliesTogether(backend, weights) &&
  fitSideBySide(
    backend,
    type,
    dys.map((dy) => columnsOf(backend, dy)),
  );

/** dx [rows, in] = or += Σ dyᵢ·Wᵢ. @param lowRank to be added by the first product. */
function backward(
  backend: CudaBackend,
  dys: readonly TensorInfo[],
  weights: readonly TensorInfo[],
  dx: TensorInfo,
  beta: 0 | 1,
  type: Type,
  lowRank?: LowRank,
  multiprocessors?: number,
): void {
  const rows = dx.shape[0]!;
  if (rows === 0) return;
  const sum = { d: backend.address(dx), type, beta, lowRank, multiprocessors };
  if (isOneProduct(backend, dys, weights, type)) {
    const parts = dys.map((dy) => columnsOf(backend, dy));
    const codes = quantiseSideBySide(backend, rows, type, parts);
    timesTransposedTogether(backend, codes, weights, sum);
    codes.release();
    return;
  }
  dys.forEach((dy, n) => {
    const onTop = n === 0 ? sum : ({ ...sum, beta: 1, lowRank: undefined } as const);
    withActivations(backend, dy, type, (dy) => timesTransposed(backend, dy, weights[n]!, onTop));
  });
}

/** Numbers of those layers of which all rows meet the whole matrix in the backward, and of the others, which gather their kept rows. */
function splitLayers(backend: CudaBackend, layers: readonly Layer[], T: number, denseRows: number) {
  const masked = layers.map((layer) => masks(backend, layer, T, denseRows));
  const gathers = layers.map(({ keep }, n) => keep !== null && denseRows < T && !masked[n]);
  const places = layers.map((_, n) => n);
  return { masked, whole: places.filter((n) => !gathers[n]), split: places.filter((n) => gathers[n]) };
}

/** dx [T, in] = or += what every layer's frozen product gives. @param gathered the kept rows of those that gather them. @param lowRank to be added to all rows. */
function writeInputGradient(
  backend: CudaBackend,
  layers: readonly Layer[],
  denseRows: number,
  dys: readonly TensorInfo[],
  gathered: TensorInfo | null,
  dx: TensorInfo,
  beta: 0 | 1,
  type: Type,
  lowRank?: LowRank,
): void {
  const T = dx.shape[0]!;
  const { masked, whole, split } = splitLayers(backend, layers, T, denseRows);
  const weightsOf = (of: readonly number[]) => of.map((n) => layers[n]!.weight);
  if (whole.length > 0) {
    const made = whole.map((n) =>
      masked[n] ? maskColumns(backend, dys[n]!, layers[n]!.keep!.indices, denseRows) : backend.share(dys[n]!),
    );
    backward(backend, made, weightsOf(whole), dx, beta, type, lowRank);
    for (const dy of made) backend.release(dy);
  }
  if (split.length === 0) return;
  const onTop = whole.length > 0 ? 1 : beta;
  const added = whole.length > 0 ? undefined : lowRank;
  const rowsOfAll = (from: number, to: number) => split.map((n) => rowsOf(backend, dys[n]!, from, to));
  const [above, below] = [rowsOf(backend, dx, 0, denseRows), rowsOf(backend, dx, denseRows, T)];
  const [first, last] = [rowsOfAll(0, denseRows), rowsOfAll(denseRows, T)];
  const { lane, multiprocessors } = placeOfDenseRows(backend, layers[split[0]!]!.weight, denseRows, T);
  const wait = backend.besideRows(lane, () => {
    backward(backend, first, weightsOf(split), above, onTop, type, added, multiprocessors);
  });
  const parts = split.map((n, place) => ({ dy: last[place]!, indices: layers[n]!.keep!.indices }));
  keptBackward(backend, parts, gathered!, below, onTop, type, added && rowsFrom(added, denseRows));
  wait();
  for (const slice of [above, below, ...first, ...last]) backend.release(slice);
}

/** What the branches add to dx, for the products that make the rest of it; null where these cannot add it. */
function addedToGradient(
  backend: CudaBackend,
  layers: readonly Layer[],
  denseRows: number,
  dys: readonly TensorInfo[],
  gathered: TensorInfo | null,
  T: number,
  dh: TensorInfo,
  group: BranchGroup,
  type: Type,
): LowRank | null {
  const { whole, split } = splitLayers(backend, layers, T, denseRows);
  const adds = (of: readonly number[], rows: number) => {
    const [weights, some] = [of.map((n) => layers[n]!.weight), of.map((n) => dys[n]!)];
    return isOneProduct(backend, some, weights, type)
      ? hasOwnGradient(backend, rows, weights)
      : addsBranch(backend, weights[0]!, rows);
  };
  const added =
    whole.length > 0
      ? adds(whole, T)
      : (denseRows === 0 || adds(split, denseRows)) && addsBranch(backend, gathered!, T - denseRows);
  return added ? gradientAddedByProduct(backend, dh, group, type) : null;
}

const addsBranch = (backend: CudaBackend, weight: TensorInfo, rows: number): boolean =>
  formOf(backend, weight).addsLowRank?.(backend, weight, rows, true) ?? false;

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
  const beside = leaveRoom(backend, weightsOf(layers), T);
  const ofBranches = group.rank > 0 ? branchGradients(backend, x, inputs.h!, dys, group, type, beside) : null;
  const onTop = ofBranches !== null && !beside;
  if (dx) {
    const kept = inputs.kept0 ?? null;
    const added = onTop ? addedToGradient(backend, layers, denseRows, dys, kept, T, ofBranches.dh, group, type) : null;
    const first = onTop && !added;
    if (first) writeBranchGradient(backend, dx, ofBranches.dh, group, T, type);
    writeInputGradient(backend, layers, denseRows, dys, kept, dx, first ? 1 : 0, type, added ?? undefined);
    if (ofBranches && !onTop) writeBranchGradient(backend, dx, ofBranches.dh, group, 0, type);
  }
  if (ofBranches) backend.release(ofBranches.dh);
  for (const made of [x, ...dys]) backend.release(made);
  return [...(dx ? [dx] : []), ...withMagnitudes(layers, ofBranches?.gradients ?? [], dmagnitudes)];
};

/** Kernels of the contract. */
export const projectRowsKernels = {
  SpftProjectRows: projectRows,
  SpftProjectRowsGrad: projectRowsGrad,
} satisfies CudaKernels;
