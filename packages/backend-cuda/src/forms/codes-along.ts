/**
 * @file Codes that the kernel which makes a matrix writes along with it, as it has the rows at hand: norms, and their gradients. They are written where a
 * frozen matrix in codes has so many inputs, or for a gradient outputs, and are of the numbers that are written: the same bits as by a pass of their own.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { Role } from './form.js';
import { chooseOutliers, type OutlierChannels, outliersAmong, outliersOf } from './outlier-channels.js';
import { QuantisedRows } from './quantised-rows.js';

/** What `derived` calls the codes and, behind them, the scales. */
const ALONG = 'rows in e4m3';

interface Widths {
  /** Each with how many of its channels are outliers. */
  readonly input: Map<number, number>;
  readonly gradient: Set<number>;
}

/** Of a backend: widths of inputs, and of gradients, that matrices in codes are multiplied by. */
const widths = new WeakMap<CudaBackend, Widths>();

/** Says that there is to be a matrix [out, in] in codes, with columns for so many outliers; the most of all that there are count. */
export function wantCodes(backend: CudaBackend, [out, inputs]: readonly number[], outliers = 0): void {
  // Those of matrices that are all gone are forgotten.
  const known = backend.data.packed > 0 ? widths.get(backend) : undefined;
  const of = known ?? { input: new Map(), gradient: new Set() };
  of.input.set(inputs!, Math.max(outliers, of.input.get(inputs!) ?? 0));
  of.gradient.add(out!);
  widths.set(backend, of);
}

/** Whether there are matrices in codes, by which products run. */
export const multipliesCodes = (backend: CudaBackend): boolean => backend.data.packed > 0 && widths.has(backend);

/** Whether codes of y [T, n] are wanted along with it. */
function wanted(backend: CudaBackend, { shape }: Pick<TensorInfo, 'shape'>, role: Role): boolean {
  const [rows, n] = shape as [number, number];
  return rows > 0 && backend.data.packed > 0 && backend.scalesRows && (widths.get(backend)?.[role].has(n) ?? false);
}

/** Where the kernel that makes a gradient y [T, n] writes codes and scales too; zeros where it shall not. */
export function codesAlong(backend: CudaBackend, y: TensorInfo): [codes: number, scales: number] {
  if (!wanted(backend, y, 'gradient')) return [0, 0];
  const [rows, n] = y.shape as [number, number];
  const codes = backend.derived(y, ALONG, rows * n + 4 * rows, () => {});
  return [codes, codes + rows * n];
}

/** Whether codes of a layer's input [T, n] are wanted, and can be written without its numbers, by which its outliers, kept with `owner`, are chosen the first time. */
export function takesCodesAlone(backend: CudaBackend, shape: number[], owner: TensorInfo): boolean {
  if (!wanted(backend, { shape }, 'input')) return false;
  const count = outliersAmong(shape[1]!, widths.get(backend)!.input.get(shape[1]!)!);
  return count === 0 || outliersOf(backend, owner) !== null;
}

/** Where codes of a layer's input go. */
export interface InputCodes {
  readonly codes: number;
  readonly scales: number;
  /** Codes from row to row. */
  readonly stride: number;
  readonly outliers: OutlierChannels | null;
}

/** Of inputs that were written along with outliers. */
const outliersAlong = new WeakMap<object, OutlierChannels>();

/**
 * Where the kernel that makes y [T, n], a layer's input, writes codes and scales too; null where it shall not.
 * @param owner what the choice of outliers is kept with.
 * @param make makes y without codes: outliers are chosen by the first that there is.
 */
export function inputCodesAlong(
  backend: CudaBackend,
  y: TensorInfo,
  owner: TensorInfo,
  make: () => void,
): InputCodes | null {
  if (!wanted(backend, y, 'input')) return null;
  const [rows, n] = y.shape as [number, number];
  const count = outliersAmong(n, widths.get(backend)!.input.get(n)!);
  let outliers: OutlierChannels | null = null;
  if (count > 0) {
    outliers = outliersOf(backend, owner);
    if (!outliers) {
      make();
      outliers = chooseOutliers(backend, owner, y, count);
    }
    outliersAlong.set(y.dataId, outliers);
  }
  const stride = n + (outliers?.count ?? 0);
  const codes = backend.derived(y, ALONG, rows * stride + 4 * rows, () => {});
  return { codes, scales: codes + rows * stride, stride, outliers };
}

/** The codes that were written along with x, which must live as long; null where there are none. */
export function writtenAlong(backend: CudaBackend, x: TensorInfo): QuantisedRows | null {
  const codes = backend.derivedAddress(x, ALONG);
  if (codes === 0) return null;
  const [rows, n] = x.shape as [number, number];
  const outliers = outliersAlong.get(x.dataId) ?? null;
  const stride = n + (outliers?.count ?? 0);
  return new QuantisedRows(backend, codes, codes + rows * stride, true, rows, n, stride, [], outliers);
}
