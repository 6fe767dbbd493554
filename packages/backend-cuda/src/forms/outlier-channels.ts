/**
 * @file Channels of a layer's input that have most of its energy (outlier channels, Dettmers et al. 2022, arXiv:2208.07339). A code's error is in proportion to
 * the number, so theirs are most of the error of FP8's forward (docs/RESULTS.md). What the code of such a channel leaves of its number is a code of its own, in a
 * column behind the row, and the matrix has the channel's column once more in the same place: a product with some more columns has them in eight bits.
 *
 * Which channels these are is chosen when the first rows come by, and stays so: it reads their energies back once.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { inScope } from '../shared/tensors.js';
import { declareVariants } from '../shared/variants.js';
import { columnSums } from '../spft/engine/column-sums.js';
import { C_TYPE } from '../storage.js';

/** What `derived` calls them. */
const NAME = 'outlier channels';

export interface OutlierChannels {
  readonly count: number;
  /** Address of int32 [count], in ascending order. */
  readonly channels: number;
  /**
   * Address of 16 bits for each eight channels: a bit for each that is one of them, and above these how many there are before. Before it there are 16 bits for each
   * of the outliers, by which kernels find them again among the octets that have some (cuda/e4m3-row-scale.cuh).
   */
  readonly octets: number;
}

/** A byte counts them. */
export const MOST_OUTLIERS = 240;

/** How many of `inputs` channels are kept so where so many are wanted: none of few. */
export const outliersAmong = (inputs: number, wanted: number): number => (2 * wanted <= inputs ? wanted : 0);

/** By the tensor they are kept with. */
const chosen = new WeakMap<object, OutlierChannels>();

/** Those kept with `owner`; null where none were chosen. */
export function outliersOf(backend: CudaBackend, owner: TensorInfo): OutlierChannels | null {
  // A recorded step must know that it reads them.
  return backend.derivedAddress(owner, NAME) === 0 ? null : chosen.get(owner.dataId)!;
}

/**
 * The same, chosen by x [T, n] where there are none yet.
 * @param count a multiple of 16, as rows of codes begin at multiples of 16 bytes; at most `MOST_OUTLIERS`.
 */
export function chooseOutliers(backend: CudaBackend, owner: TensorInfo, x: TensorInfo, count: number): OutlierChannels {
  const known = outliersOf(backend, owner);
  if (known) return known;
  const n = x.shape[1]!;
  const octetsAt = 6 * count;
  const address = backend.derived(owner, NAME, octetsAt + n / 4, (to) => {
    const channels = strongest(energies(backend, x), count);
    backend.uploadTo(to, channels);
    const octets = octetsOf(channels, n);
    backend.uploadTo(to + 4 * count, placesOf(channels, octets));
    backend.uploadTo(to + octetsAt, octets);
  });
  const made = { count, channels: address, octets: address + octetsAt };
  chosen.set(owner.dataId, made);
  return made;
}

/** Σx² of each channel. */
function energies(backend: CudaBackend, x: TensorInfo): Float32Array {
  const [rows, n] = x.shape as [number, number];
  return inScope(backend, (scope) => {
    const type = C_TYPE[backend.physical(x)];
    const operands = [backend.address(x)];
    const types = { TYPE_A: type, TYPE_B: type };
    const sums = scope.temporary(columnSums(backend, scope, 'column_squares', types, [rows, n], operands, 0));
    const energies = new Float32Array(n);
    backend.readFrom(backend.address(sums), energies);
    return energies;
  });
}

/** The `count` channels of most energy, in ascending order; of equals the first. */
export function strongest(energies: Float32Array, count: number): Int32Array {
  const order = Array.from(energies, (_, channel) => channel);
  // What is not finite comes first, as the most.
  const size = (channel: number) => (Number.isFinite(energies[channel]) ? energies[channel]! : Number.MAX_VALUE);
  order.sort((a, b) => size(b) - size(a) || a - b);
  return Int32Array.from(order.slice(0, count)).sort();
}

/** @param channels in ascending order. @param n a multiple of 8. */
function octetsOf(channels: Int32Array, n: number): Uint16Array {
  const octets = new Uint16Array(n / 8);
  for (const channel of channels) octets[channel >> 3]! |= 1 << (channel & 7);
  let before = 0;
  octets.forEach((bits, octet) => {
    octets[octet] = bits | (before << 8);
    for (let rest = bits; rest !== 0; rest &= rest - 1) before++;
  });
  return octets;
}

/** The places of these channels in an array in which each octet that has some is where as many come before it. */
const placesOf = (channels: Int32Array, octets: Uint16Array): Uint16Array =>
  Uint16Array.from(channels, (channel) => 8 * (octets[channel >> 3]! >> 8) + (channel & 7));

/** Writes these channels' columns of codes [rows, columns] behind each row. */
export function repeatColumns(
  backend: CudaBackend,
  codes: number,
  [rows, columns]: readonly [number, number],
  { count, channels }: OutlierChannels,
): void {
  if (rows === 0) return;
  const kernel = backend.kernel('outlier-columns', 'outlier_columns', 'ppiiii');
  const blocks = Math.min(1024, Math.ceil((rows * count) / 256));
  backend.launch(kernel, [blocks], [256], [codes, channels, rows, count, columns, columns + count]);
}

declareVariants('outlier-columns');
