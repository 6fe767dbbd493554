/**
 * @file Activations and gradients as E4M3 codes with scales in device memory, made on the fly: one for each row where products can have that
 * (`CudaBackend.scalesRows`), else one for all. No number is read back.
 *
 * A gradient's row is scaled by a power of two; a layer's input, of the eight scales by which its greatest number is a code as it is, by the one that rounds
 * its other strong channels least (cuda/e4m3-row-scale.cuh): a third of what FP8 does to a real model's loss is undone by that, and gradients may be
 * rounded as they like (docs/RESULTS.md).
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { aligned } from '../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { C_TYPE } from '../storage.js';
import type { Role, Rows } from './form.js';
import type { OutlierChannels } from './outlier-channels.js';

/** Blocks of the first pass over a matrix that gets one scale. */
const STRETCHES = 1024;

export class QuantisedRows implements Rows {
  readonly #owned: TensorInfo[];

  /**
   * @param codes address. @param stride codes from row to row.
   * @param scales address: of one for each row, or of one.
   * @param owned tensors that are given back with it.
   * @param outliers channels whose rests lie behind each row.
   */
  constructor(
    private readonly backend: CudaBackend,
    readonly codes: number,
    readonly scales: number,
    readonly byRow: boolean,
    readonly rows: number,
    readonly columns: number,
    readonly stride: number,
    owned: TensorInfo[],
    readonly outliers: OutlierChannels | null = null,
  ) {
    this.#owned = owned;
  }

  slice(from: number, to: number): QuantisedRows {
    if (from === 0 && to === this.rows) return this;
    return this.#part(
      this.codes + from * this.stride,
      this.#scalesFrom(from, to),
      to - from,
      this.columns,
      this.outliers,
    );
  }

  /** Columns [from, to) of all rows. */
  sliceColumns(from: number, to: number): QuantisedRows {
    return this.#part(this.codes + from, this.scales, this.rows, to - from);
  }

  release(): void {
    for (const tensor of this.#owned) this.backend.release(tensor);
    this.#owned.length = 0;
  }

  #part(
    codes: number,
    scales: number,
    rows: number,
    columns: number,
    outliers: OutlierChannels | null = null,
  ): QuantisedRows {
    return new QuantisedRows(this.backend, codes, scales, this.byRow, rows, columns, this.stride, [], outliers);
  }

  /** cuBLASLt wants scales at a multiple of 16 bytes; those of a slice that begins elsewhere are copied to one. */
  #scalesFrom(from: number, to: number): number {
    if (!this.byRow) return this.scales;
    const address = this.scales + 4 * from;
    if (address % 16 === 0) return address;
    const copy = this.backend.output([to - from]);
    this.#owned.push(copy);
    const aligned = this.backend.address(copy);
    this.backend.copy(address, aligned, 4 * (to - from));
    return aligned;
  }
}

/** Codes [rows, columns] and their scales, still to be written; owned by the caller. @param outliers channels with a column more. */
export function newRows(
  backend: CudaBackend,
  rows: number,
  columns: number,
  outliers: OutlierChannels | null = null,
): QuantisedRows {
  const stride = columns + (outliers?.count ?? 0);
  const codes = backend.output([rows, stride], 'bool');
  const scales = backend.output([rows]);
  const [codesAt, scalesAt] = [codes, scales].map((tensor) => backend.address(tensor)) as [number, number];
  const owned = [codes, scales];
  return new QuantisedRows(backend, codesAt, scalesAt, backend.scalesRows, rows, columns, stride, owned, outliers);
}

/** How rows get their scales, as in cuda/quantise.cu: of which shared memory has room for the finest of rows of so many numbers. */
const SCALING = { powerOfTwo: 0, given: 1, finest: 2 } as const;
const FINEST_UP_TO = 2 ** 16;

/** Whether rows of n numbers get the finest scale where they are a layer's input, and so may have outliers. */
export const scalesFinest = (backend: CudaBackend, n: number): boolean => backend.scalesRows && n <= FINEST_UP_TO;

/** Codes of x [T, n], which is bf16 or float; owned by the caller. @param outliers of an input that `scalesFinest`. */
export function quantiseRows(
  backend: CudaBackend,
  x: TensorInfo,
  role: Role,
  outliers: OutlierChannels | null = null,
): QuantisedRows {
  const [rows, n] = x.shape as [number, number];
  const made = newRows(backend, rows, n, outliers);
  if (rows * n === 0) return made;
  if (!made.byRow) scaleOfAll(backend, x, made.scales);
  const finest = role === 'input' && scalesFinest(backend, n);
  const scaling = !made.byRow ? 'given' : finest ? 'finest' : 'powerOfTwo';
  quantise(backend, x, made.codes, made.scales, scaling, made.stride, outliers?.octets);
  return made;
}

/** Writes the scale that all of x [T, n] has room for. */
export function scaleOfAll(backend: CudaBackend, x: TensorInfo, scale: number): void {
  const size = x.shape[0]! * x.shape[1]!;
  const types = { X: C_TYPE[backend.physical(x)] };
  const from = backend.address(x);
  const blocks = Math.min(STRETCHES, Math.ceil(size / 2048));
  backend.scratch(4 * blocks, (most) => {
    const first = backend.kernel('quantise', 'most_of_stretch', 'ppli', types);
    backend.launch(first, [blocks], [256], [from, most, size, aligned(8, from)]);
    const second = backend.kernel('quantise', 'scale_of_all', 'ppi', types);
    backend.launch(second, [1], [256], [most, scale, blocks]);
  });
}

/** Writes the codes of x [T, n], rows `stride` apart, by the scale that is there. */
export const quantiseByScale = (
  backend: CudaBackend,
  x: TensorInfo,
  codes: number,
  scale: number,
  stride = x.shape[1]!,
): void => quantise(backend, x, codes, scale, 'given', stride);

function quantise(
  backend: CudaBackend,
  x: TensorInfo,
  codes: number,
  scales: number,
  scaling: keyof typeof SCALING,
  stride: number,
  outliers = 0,
): void {
  const [rows, n] = x.shape as [number, number];
  const from = backend.address(x);
  const kernel = backend.kernel('quantise', 'quantise_rows', 'ppppiiiii', { X: C_TYPE[backend.physical(x)] });
  const threads = Math.min(512, Math.max(32, 32 * Math.ceil(n / (16 * 32))));
  const wide = aligned(n, from, codes) && aligned(stride, codes);
  const args = [from, codes, scales, outliers, n, n, stride, wide, SCALING[scaling]];
  backend.launch(kernel, [rows], [threads], args);
}

declareVariants('quantise', combinations({ X: FLOATS }));
