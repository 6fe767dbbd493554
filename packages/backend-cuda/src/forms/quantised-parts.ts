/**
 * @file Gradients of several layers with one input as codes side by side, with one scale a row: then the sum of their products, dx = Σ dyᵢ·Wᵢ, is one
 * product whose inner dimension is that of all of them. Kept columns are taken on the way.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { BYTES, C_TYPE } from '../storage.js';
import { newRows, type QuantisedRows } from './quantised-rows.js';

/** Columns of a matrix in device memory. */
export interface ColumnsPart {
  /** Of its first row. */
  readonly address: number;
  /** Elements from row to row. */
  readonly stride: number;
  /** How many columns, and which: address of int32, or 0 for the first ones. */
  readonly columns: number;
  readonly indices: number;
}

/** The columns `indices` of x, or all of them. */
export const columnsOf = (backend: CudaBackend, x: TensorInfo, indices: TensorInfo | null = null): ColumnsPart => ({
  address: backend.address(x),
  stride: x.shape[1]!,
  columns: indices ? indices.shape[0]! : x.shape[1]!,
  indices: indices ? backend.address(indices) : 0,
});

const MOST_PARTS = 3;
/** Octets of a row that a thread may hold, and the most threads that have a row. */
const OCTETS = [1, 2, 4] as const;
const MOST_THREADS = 1024;

/** The fewest octets a thread with which half of the most threads have a row, so that several rows share a multiprocessor; nothing where it is too long. */
const octetsFor = (columns: number) =>
  OCTETS.find((octets) => columns <= 8 * octets * (octets === 4 ? MOST_THREADS : MOST_THREADS / 2));

const widthOf = (parts: readonly ColumnsPart[]): number => parts.reduce((sum, { columns }) => sum + columns, 0);

/** Whether these can be codes side by side. */
export function fitSideBySide(backend: CudaBackend, type: 'bf16' | 'f32', parts: readonly ColumnsPart[]): boolean {
  const fits = ({ address, stride, columns, indices }: ColumnsPart) =>
    columns % 16 === 0 && [address, stride * BYTES[type], indices].every((bytes) => bytes % 16 === 0);
  const width = widthOf(parts);
  return (
    backend.scalesRows && parts.length <= MOST_PARTS && width > 0 && octetsFor(width) !== undefined && parts.every(fits)
  );
}

/** Codes [rows, Σcolumns], where `fitSideBySide` says so; owned by the caller. */
export function quantiseSideBySide(
  backend: CudaBackend,
  rows: number,
  type: 'bf16' | 'f32',
  parts: readonly ColumnsPart[],
): QuantisedRows {
  const width = widthOf(parts);
  const made = newRows(backend, rows, width);
  if (rows === 0) return made;
  const octets = octetsFor(width)!;
  const kernel = backend.kernel('quantise-parts', 'quantise_parts', 'ppppppppiiiiii', {
    ...{ X: C_TYPE[type], OCTETS: octets },
  });
  const ofEach = (f: (part: ColumnsPart) => number) =>
    Array.from({ length: MOST_PARTS }, (_, n) => (parts[n] ? f(parts[n]) : 0));
  const addresses = [...ofEach(({ address }) => address), ...ofEach(({ indices }) => indices)];
  const numbers = [...ofEach(({ columns }) => columns), ...ofEach(({ stride }) => stride)];
  const threads = 32 * Math.ceil(width / (8 * octets * 32));
  backend.launch(kernel, [rows], [threads], [...addresses, made.codes, made.scales, ...numbers]);
  return made;
}

declareVariants('quantise-parts', combinations({ X: FLOATS, OCTETS }));
