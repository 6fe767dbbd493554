/**
 * @file Products of few rows of codes with frozen matrices in E4M3 as they lie (cuda/skinny.cu): of tokens that are dense where most are sparse, say. On an H200 they
 * take two thirds of the time of cuBLASLt's, which wants the transposed codes for gradients; those would be made for these rows. Of bf16, which cuBLASLt
 * takes as it lies, they were no faster.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { C_TYPE } from '../storage.js';
import type { Sum } from './form.js';
import type { QuantisedRows } from './quantised-rows.js';

/** Rows that the kernels take. */
const MOST_ROWS = 32;
/** Warps of a block, which take turns, each with two units. */
const UNITS_A_TURN = 16;
/** Blocks that share a multiprocessor. */
const BLOCKS_AT_ONCE = 2;

/** Whether products of so many rows with a matrix of so many numbers are made here, where places and sides allow it. */
export const isSkinny = (backend: CudaBackend, rows: number, numbers: number): boolean =>
  rows > 0 && rows <= MOST_ROWS && numbers >= backend.skinnyFrom;

/** How a matrix lies: `inner` columns of it are multiplied by, and `ldw` are from row to row. */
export interface WeightPlace {
  readonly inner: number;
  readonly ldw: number;
}

/**
 * d [rows, out] = scale · x·Wᵀ, or scale · x·W [rows, in] where `transposed`.
 * @param weight [out, in], codes that stand for `scale` times what they are.
 * @param place of it; gradients take its `in` columns alone.
 * @returns whether it was done: not for more rows, or where addresses or sides do not allow loads of full width.
 */
export function timesSkinny(
  backend: CudaBackend,
  x: QuantisedRows,
  weight: TensorInfo,
  scale: number,
  transposed: boolean,
  { d, type, ldd, beta = 0, c = d }: Sum,
  { inner: innerOfX, ldw }: WeightPlace = { inner: weight.shape[1]!, ldw: weight.shape[1]! },
): boolean {
  const [out, inputs] = weight.shape as [number, number];
  const { rows, stride, codes } = x;
  if (!isSkinny(backend, rows, out * inputs)) return false;
  const [m, inner] = transposed ? [inputs, out] : [out, innerOfX];
  // Of `skinny` a unit is 64 numbers of the inner dimension, of the other rows of the matrix.
  const unit = transposed ? 32 : 64;
  const address = backend.address(weight);
  if (inner % unit !== 0 || m % 16 !== 0 || [stride, ldw, codes, address].some((n) => n % 16 !== 0)) return false;
  const units = inner / unit;
  const blocks = Math.ceil(m / (transposed ? 64 : 32));
  const wanted = Math.floor((BLOCKS_AT_ONCE * backend.device.info.multiprocessors) / blocks);
  const turns = Math.ceil(units / UNITS_A_TURN);
  const each = UNITS_A_TURN * Math.ceil(turns / Math.max(1, Math.min(wanted, turns)));
  const stretches = Math.ceil(units / each);
  const defines = { NT: Math.ceil(rows / 8), Y: C_TYPE[type] };
  const places = [d, beta === 1 ? c : 0];
  const scaling = [x.scales, scale, x.byRow ? 1 : 0, rows, m];
  const ldy = ldd ?? m;
  const kernel = backend.kernel('skinny', transposed ? 'skinny_transposed' : 'skinny', 'ppppppfiiiiiiii', defines);
  const multiply = (parts: number) => {
    const args = [codes, address, ...places, parts, ...scaling, inner, stride, ldw, ldy, each];
    backend.launch(kernel, [blocks, stretches], [256], args);
  };
  if (stretches === 1) {
    multiply(0);
    return true;
  }
  backend.scratch(4 * stretches * rows * m, (parts) => {
    multiply(parts);
    const totals = backend.kernel('skinny', 'skinny_totals', 'ppppfiiiii', defines);
    backend.launch(totals, [Math.ceil((rows * m) / 256)], [256], [...places, parts, ...scaling, ldy, stretches]);
  });
  return true;
}

// Architectures of before have no products of codes.
declareVariants('skinny', combinations({ NT: [1, 2, 3, 4], Y: FLOATS }), 'sm_90a');
