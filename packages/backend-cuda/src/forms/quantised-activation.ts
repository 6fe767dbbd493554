/** @file SwiGLU and its gradient whose results are codes at once, where the next product runs on codes: nothing of them is written in bf16. */
import type { CudaBackend } from '../backend.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { BYTES, C_TYPE } from '../storage.js';
import type { OutlierChannels } from './outlier-channels.js';
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
 * @param ofUp where up's own codes go, for its gradient. @param outliers channels of which codes leave something that is a code too.
 */
export function quantisedActivation(
  backend: CudaBackend,
  gate: Place,
  up: Place,
  extent: Extent,
  ofUp: Codes | null = null,
  outliers: OutlierChannels | null = null,
): QuantisedRows {
  const { rows, columns } = extent;
  const made = newRows(backend, rows, columns, outliers);
  const addresses = [gate.address, up.address, made.codes, made.scales, outliers?.octets ?? 0, ...addressesOf(ofUp)];
  const args = [...addresses, columns, gate.stride, made.stride];
  launch(backend, extent, 'quantised_activation', 'pppppppiii', args, outliers && { OUTLIERS: 1 });
  return made;
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
  const made = newRows(backend, extent.rows, 2 * columns);
  const addresses = [gate.address, plain, dy.address, made.codes, made.scales, ...addressesOf(coded)];
  const args = [...addresses, columns, gate.stride];
  launch(backend, extent, 'quantised_activation_grad', 'pppppppii', args, coded && { UP_CODES: 1 });
  return made;
}

/** A block for each row. */
function launch(
  backend: CudaBackend,
  { rows, columns, type }: Extent,
  entry: string,
  parameters: string,
  args: readonly number[],
  further: Readonly<Record<string, number>> | null,
): void {
  const octets = octetsFor(columns)!;
  const threads = threadsFor(columns, octets);
  const exact = columns === 8 * octets * threads;
  const defines = { X: C_TYPE[type], OCTETS: octets, EXACT: exact ? 1 : 0, UP_CODES: 0, ...further };
  const kernel = backend.kernel('quantised-activation', entry, parameters, defines);
  backend.launch(kernel, [rows], [threads], args);
}

declareVariants('quantised-activation', combinations({ X: FLOATS, OCTETS, EXACT: [0, 1], UP_CODES: [0, 1] }));
declareVariants(
  'quantised-activation',
  combinations({ X: FLOATS, OCTETS, EXACT: [0, 1], UP_CODES: [0], OUTLIERS: [1] }),
);
