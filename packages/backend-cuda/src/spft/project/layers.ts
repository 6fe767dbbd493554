/** @file What the kernels that span several products are told of a model's layers; the contract's types. */

import type { KernelLayer as Layer } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { multipliesCodes } from '../../forms/codes-along.js';
import { type Lane, LIGHT } from '../../recording/asides.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE, type Physical } from '../../storage.js';

export type {
  KernelBranch as Branch,
  KernelLayer as Layer,
  KernelSelection as Selection,
} from '@spft/sparse-ops/backend';

/** Rows [from, to) of a matrix, sharing its memory; the matrix once more where they are all of it. Owned by the caller. */
export function rowsOf(backend: CudaBackend, x: TensorInfo, from: number, to: number): TensorInfo {
  if (from === 0 && to === x.shape[0]) return backend.share(x);
  const columns = x.shape[1]!;
  return backend.view(x, [to - from, columns], from * columns);
}

/**
 * Begins `y` for a product that adds to it: with a bias, or the kept numbers of it, in every row.
 * @param within the columns of y that are meant, from `at` on; all by default.
 * @returns beta of the product.
 */
export function beginWithBias(
  backend: CudaBackend,
  y: TensorInfo,
  bias: TensorInfo | null,
  indices: TensorInfo | null = null,
  within: { readonly at: number; readonly columns: number } = { at: 0, columns: y.shape[1]! },
): 0 | 1 {
  const [rows, stride] = y.shape as [number, number];
  if (bias === null || rows === 0) return 0;
  const physical = backend.physical(y);
  const types = { FROM: C_TYPE[backend.physical(bias)], TO: C_TYPE[physical] };
  const kernel = backend.kernel('fill-rows', 'fill_rows', 'ppplii', types);
  const blocks = Math.min(4096, Math.ceil((rows * within.columns) / 1024));
  const to = backend.address(y) + within.at * BYTES[physical];
  const places = indices ? backend.address(indices) : 0;
  backend.launch(kernel, [blocks], [256], [backend.address(bias), places, to, rows, within.columns, stride]);
  return 1;
}

/**
 * Begins z [rows, Σkept] with the kept numbers of each bias in its columns; a layer without one begins with zeros where another has one, as one product
 * adds to all.
 * @returns beta of the product.
 */
export function beginSideBySide(
  backend: CudaBackend,
  z: TensorInfo,
  biases: readonly (TensorInfo | null)[],
  indices: readonly TensorInfo[],
): 0 | 1 {
  if (biases.every((bias) => bias === null)) return 0;
  let beta: 0 | 1 = 0;
  let at = 0;
  biases.forEach((bias, n) => {
    const columns = indices[n]!.shape[0]!;
    const values = bias ? backend.share(bias) : backend.output([columns], 'float32', 'f32');
    if (bias === null) backend.clear(values);
    beta = beginWithBias(backend, z, values, bias && indices[n]!, { at, columns });
    backend.release(values);
    at += columns;
  });
  return beta;
}

/** y [rows, out] += bias in every row. */
export function addRows(backend: CudaBackend, y: TensorInfo, bias: TensorInfo): void {
  const [rows, columns] = y.shape as [number, number];
  const types = { FROM: C_TYPE[backend.physical(bias)], TO: C_TYPE[backend.physical(y)] };
  const kernel = backend.kernel('fill-rows', 'add_rows', 'ppli', types);
  const blocks = Math.min(4096, Math.ceil((rows * columns) / 1024));
  backend.launch(kernel, [blocks], [256], [backend.address(bias), backend.address(y), rows, columns]);
}

/**
 * Whether sparse rows of a layer are computed with all channels, and what comes of those that are not kept is zeroed: the same numbers, where a launch takes
 * longer than the products that gathered channels save. Not with a magnitude.
 * @param T rows, of which the first D are dense.
 */
export function masks(backend: CudaBackend, { weight, keep, lora }: Layer, T: number, D: number): boolean {
  if (keep === null || D >= T || lora?.magnitude) return false;
  const others = (weight.shape[0]! * weight.shape[1]!) / keep.total;
  return (T - D) * (keep.total - keep.kept) * others < backend.masksBelow;
}

/**
 * What is made on which lane (`CudaBackend.beside`): low-rank branches; products beside others; in the backward gradients that only the optimizer waits for, so
 * that the next layer's branches do not; and scores and the choice of channels.
 */
export const LANE = { branches: 1, products: 2, gradients: 3, choice: LIGHT } as const;

/**
 * The lane of kernels of few blocks that choose channels: after the scores, where these are made on it; and of large models beside the products of dense rows, which fill the GPU, where these run on codes. On an H200 that
 * takes 1 to 2 % of a step; with products in bf16 such a step got slower by 1 %.
 */
export const choiceLane = (backend: CudaBackend, ...of: readonly TensorInfo[]): Lane =>
  multipliesCodes(backend) || of.some((info) => backend.laneOf(info) === LANE.choice) ? LANE.choice : 0;

/** The lane of scores by predictors of a layer: beside the products of one so small that a few thousand of its rows leave room (`leaveRoom`). */
export const scoringLane = (backend: CudaBackend, inputs: number, channels: number): Lane =>
  inputs * channels * SMALL_ROWS < backend.besideBelow ? LANE.choice : 0;

/** Rows of a batch, roughly, for those who know a layer's size alone. */
const SMALL_ROWS = 2048;

/**
 * Whether products of T rows and these weights leave room on the GPU for work beside them. Then that is done on lanes, and a layer's branch comes after its
 * product, which need not wait for it. Sums are made in that order on whatever stream, so that a base in shards, which has no lanes, gives the same bits.
 */
export const leaveRoom = (backend: CudaBackend, weights: readonly TensorInfo[], T: number): boolean =>
  weights.every(({ shape }) => T * shape[0]! * shape[1]! < backend.besideBelow);

/** Dense rows whose products take no longer than it takes to read a matrix. */
const FEW_ROWS = 64;

/** On which lane a product is made, and for how many multiprocessors: all by default. */
export interface Place {
  readonly lane: Lane;
  readonly multiprocessors?: number;
}

export const IN_TURN: Place = { lane: 0 };

const isPlain = (physical: Physical): boolean => physical === 'bf16' || physical === 'f32';

/**
 * Where products of the first D of T rows are made with a matrix of which the other rows take kept channels alone. Few rows read a whole matrix for little work, so they
 * are made beside the other rows' products, for half of the multiprocessors: on an H200, with 24 rows, that saves 1.2 to 1.4 % of such layers. With codes it saved nothing.
 */
export const placeOfDenseRows = (backend: CudaBackend, weight: TensorInfo, D: number, T: number): Place =>
  D > 0 &&
  D <= FEW_ROWS &&
  D < T &&
  isPlain(backend.physical(weight)) &&
  weight.shape[0]! * weight.shape[1]! >= backend.skinnyFrom
    ? { lane: LANE.products, multiprocessors: Math.floor(backend.device.info.multiprocessors / 2) }
    : IN_TURN;

/** Element type of activations that come of x and a frozen weight. */
export const activationType = (backend: CudaBackend, x: TensorInfo, weight: TensorInfo): 'bf16' | 'f32' =>
  backend.physical(x) === 'bf16' && backend.physical(weight) !== 'f32' ? 'bf16' : 'f32';

declareVariants('fill-rows', combinations({ FROM: FLOATS, TO: FLOATS }));
