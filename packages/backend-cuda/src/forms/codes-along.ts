/**
 * @file Codes that the kernel which makes a matrix writes along with it, as it has the rows at hand: norms, and their gradients. Whether they are wanted
 * is learnt: the first time that a norm's result is quantised by a pass of its own says that the next time its kernel should. Codes are of the numbers that
 * are written, so that they are the same bits either way.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { QuantisedRows } from './quantised-rows.js';

/** What a norm makes: its rows, or the gradient of its input. */
export type Made = 'rows' | 'gradient';

/** What `derived` calls the codes and, behind them, the scales. */
const ALONG = 'rows in e4m3';

/** Weights of norms whose results get codes. */
const wanted: Readonly<Record<Made, WeakSet<object>>> = { rows: new WeakSet(), gradient: new WeakSet() };
/** Results that none were written for, with what to remember where they are quantised. */
const makers = new WeakMap<object, { readonly made: Made; readonly weight: object }>();

/**
 * Where the kernel that makes y [T, n] writes codes and scales too; zeros where it shall not.
 * @param weight of the norm.
 */
export function codesAlong(
  backend: CudaBackend,
  y: TensorInfo,
  made: Made,
  weight: TensorInfo,
): [codes: number, scales: number] {
  const [rows, n] = y.shape as [number, number];
  if (backend.data.packed === 0 || !backend.scalesRows || n % 16 !== 0 || rows === 0) return [0, 0];
  if (!wanted[made].has(weight.dataId)) {
    makers.set(y.dataId, { made, weight: weight.dataId });
    return [0, 0];
  }
  const codes = backend.derived(y, ALONG, rows * n + 4 * rows, () => {});
  return [codes, codes + rows * n];
}

/** The codes that were written along with x, which must live as long; null where there are none, but next time. */
export function writtenAlong(backend: CudaBackend, x: TensorInfo): QuantisedRows | null {
  const codes = backend.derivedAddress(x, ALONG);
  if (codes !== 0) {
    const [rows, n] = x.shape as [number, number];
    return new QuantisedRows(backend, codes, codes + rows * n, true, rows, n, n, []);
  }
  const maker = makers.get(x.dataId);
  if (maker) wanted[maker.made].add(maker.weight);
  return null;
}
