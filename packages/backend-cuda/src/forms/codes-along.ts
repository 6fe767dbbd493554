/**
 * @file Codes that the kernel which makes a matrix writes along with it, as it has the rows at hand: norms, and their gradients. They are written where a
 * frozen matrix in codes has so many inputs, or for a gradient outputs, and are of the numbers that are written: the same bits as by a pass of their own.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { Role } from './form.js';
import { QuantisedRows } from './quantised-rows.js';

/** What `derived` calls the codes and, behind them, the scales. */
const ALONG = 'rows in e4m3';

/** Of a backend: widths of inputs, and of gradients, that matrices in codes are multiplied by. */
const widths = new WeakMap<CudaBackend, Readonly<Record<Role, Set<number>>>>();

/** Says that there is a matrix [out, in] in codes. */
export function wantCodes(backend: CudaBackend, [out, inputs]: readonly number[]): void {
  const of = widths.get(backend) ?? { input: new Set(), gradient: new Set() };
  of.input.add(inputs!);
  of.gradient.add(out!);
  widths.set(backend, of);
}

/** Whether there are matrices in codes, by which products run. */
export const multipliesCodes = (backend: CudaBackend): boolean => backend.data.packed > 0 && widths.has(backend);

/** Where the kernel that makes y [T, n] writes codes and scales too, for the products in which it has this role; zeros where it shall not. */
export function codesAlong(backend: CudaBackend, y: TensorInfo, role: Role): [codes: number, scales: number] {
  const [rows, n] = y.shape as [number, number];
  const wanted = backend.data.packed > 0 && backend.scalesRows && widths.get(backend)?.[role].has(n);
  if (!wanted || rows === 0) return [0, 0];
  const codes = backend.derived(y, ALONG, rows * n + 4 * rows, () => {});
  return [codes, codes + rows * n];
}

/** The codes that were written along with x, which must live as long; null where there are none. */
export function writtenAlong(backend: CudaBackend, x: TensorInfo): QuantisedRows | null {
  const codes = backend.derivedAddress(x, ALONG);
  if (codes === 0) return null;
  const [rows, n] = x.shape as [number, number];
  return new QuantisedRows(backend, codes, codes + rows * n, true, rows, n, n, []);
}
