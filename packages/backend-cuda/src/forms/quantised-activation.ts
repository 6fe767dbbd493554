/** @file SwiGLU and its gradient whose results are codes at once, where the next product runs on codes: nothing of them is written in bf16. */
import type { CudaBackend } from '../backend.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { BYTES, C_TYPE } from '../storage.js';
import { newRows, type QuantisedRows } from './quantised-rows.js';

/** A matrix in device memory: its address, and the elements from row to row. */
interface Place {
  readonly address: number;
  readonly stride: number;
}

interface Extent {
  readonly rows: number;
  readonly columns: number;
  readonly type: 'bf16' | 'f32';
}

/** Octets of a row that a thread may hold. */
const OCTETS = [1, 2, 4] as const;
const MOST_THREADS = 1024;

/** The fewest octets a thread with which half of the most threads have a row, as then two blocks share a multiprocessor; nothing where it is too long. */
const octetsFor = (columns: number) =>
  OCTETS.find((octets) => columns <= 8 * octets * (octets === 4 ? MOST_THREADS : MOST_THREADS / 2));

const threadsFor = (columns: number, octets: number) => Math.max(32, 32 * Math.ceil(columns / (8 * octets * 32)));

/** Addresses of codes [rows, columns] and of a scale for each row. */
export interface Codes {
  readonly codes: number;
  readonly scales: number;
}

const addressesOf = (codes: Codes | null): number[] => (codes ? [codes.codes, codes.scales] : [0, 0]);

/** Whether these places allow it: rows in registers, accesses of 16 bytes, and products with a scale for each row. */
export const quantisesActivations = (
  backend: CudaBackend,
  { columns, type }: Extent,
  places: readonly Place[],
): boolean =>
  backend.scalesRows &&
  columns % 16 === 0 &&
  octetsFor(columns) !== undefined &&
  places.every(({ address, stride }) => address % 16 === 0 && (stride * BYTES[type]) % 16 === 0);

/**
 * Codes of silu(gate) ⊙ up, where `quantisesActivations` says so. Gate and up have the same stride. Owned by the caller.
 * @param ofUp where up's own codes go, for its gradient.
 */
export function quantisedActivation(
  backend: CudaBackend,
  gate: Place,
  up: Place,
  extent: Extent,
  ofUp: Codes | null = null,
): QuantisedRows {
  const { columns } = extent;
  return codesOf(backend, extent, columns, 'quantised_activation', 'ppppppii', false, (codes, scales) => [
    ...[gate.address, up.address, codes, scales, ...addressesOf(ofUp), columns, gate.stride],
  ]);
}

/**
 * Codes of the gradients of gate and of up, side by side with one scale a row; owned by the caller.
 * @param up its numbers, or the codes that `quantisedActivation` wrote. @param dy its rows lie one after the other.
 */
export function quantisedActivationGrad(
  backend: CudaBackend,
  { gate, up, dy }: { readonly gate: Place; readonly up: Place | Codes; readonly dy: Place },
  extent: Extent,
): QuantisedRows {
  const { columns } = extent;
  const [plain, coded] = 'scales' in up ? [0, up] : [up.address, null];
  return codesOf(
    backend,
    extent,
    2 * columns,
    'quantised_activation_grad',
    'pppppppii',
    coded !== null,
    (codes, scales) => [
      ...[gate.address, plain, dy.address, codes, scales, ...addressesOf(coded), columns, gate.stride],
    ],
  );
}

/** @param width codes of a row. @param upCodes whether up is read as codes. */
function codesOf(
  backend: CudaBackend,
  { rows, columns, type }: Extent,
  width: number,
  entry: string,
  parameters: string,
  upCodes: boolean,
  args: (codes: number, scales: number) => number[],
): QuantisedRows {
  const octets = octetsFor(columns)!;
  const made = newRows(backend, rows, width);
  const threads = threadsFor(columns, octets);
  const exact = columns === 8 * octets * threads;
  const defines = { X: C_TYPE[type], OCTETS: octets, EXACT: exact ? 1 : 0, UP_CODES: upCodes ? 1 : 0 };
  const kernel = backend.kernel('quantised-activation', entry, parameters, defines);
  backend.launch(kernel, [rows], [threads], args(made.codes, made.scales));
  return made;
}

declareVariants('quantised-activation', combinations({ X: FLOATS, OCTETS, EXACT: [0, 1], UP_CODES: [0, 1] }));
