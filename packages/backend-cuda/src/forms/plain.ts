/** @file Frozen matrices in bf16 or float, as they lie: the form that everything else is measured against. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { type MatrixType, productOf } from '../device/gemm.js';
import { gatherColumns } from '../spft/select/gather-columns.js';
import { gatherRows, gatherRowsOfTwo, gatherRowsTo } from '../spft/tokens/gather-rows.js';
import { BYTES } from '../storage.js';
import { belowEachOther, type Rows, registerForm, type StoredForm, type Sum } from './form.js';

/** A matrix as it lies. */
export class PlainRows implements Rows {
  constructor(
    readonly address: number,
    readonly type: MatrixType,
    readonly rows: number,
    readonly columns: number,
  ) {}

  slice(from: number, to: number): PlainRows {
    const address = this.address + from * this.columns * BYTES[this.type];
    return new PlainRows(address, this.type, to - from, this.columns);
  }

  release(): void {}
}

export const plainRows = (backend: CudaBackend, x: TensorInfo, type: MatrixType): PlainRows =>
  new PlainRows(backend.address(x), type, x.shape[0]!, x.shape[1]!);

/** A product with a matrix of any form, unpacked for it where it is not of x's type. */
export function multiplyPlain(
  backend: CudaBackend,
  { address: a, type, rows: m, columns: k }: PlainRows,
  weight: TensorInfo,
  transposeB: boolean,
  { d, type: outputType, ldd, beta, c, multiprocessors }: Sum,
): void {
  const n = weight.shape[transposeB ? 0 : 1]!;
  const product = productOf(m, n, k, type, outputType);
  product.transposeB = transposeB;
  product.a = a;
  product.c = c;
  product.d = d;
  product.ldd = ldd;
  product.beta = beta;
  product.multiprocessors = multiprocessors;
  if (backend.physical(weight) === type) {
    product.b = backend.address(weight);
    backend.multiply(product);
    return;
  }
  const w = backend.as(weight, type);
  try {
    product.b = backend.address(w);
    backend.multiply(product);
  } finally {
    backend.release(w);
  }
}

export const plainForm: StoredForm = {
  keyOf: () => 'plain',
  rowsOf: (backend, x, _, type) => plainRows(backend, x, type),
  times: (backend, x, weight, sum) => multiplyPlain(backend, x as PlainRows, weight, true, sum),
  timesTransposed: (backend, dy, weight, sum) => multiplyPlain(backend, dy as PlainRows, weight, false, sum),
  keptRows(backend, weights, indices) {
    if (weights.length === 1) return gatherRows(backend, weights[0]!, indices[0]!);
    const physical = backend.physical(weights[0]!);
    const [one, other] = weights as [TensorInfo, TensorInfo];
    const alike =
      weights.length === 2 && one.shape.every((n, axis) => n === other.shape[axis]) && indices[0] === indices[1];
    if (alike) return gatherRowsOfTwo(backend, one, other, indices[0]!);
    return belowEachOther(backend, weights, indices, physical, (weight, indices, to) =>
      gatherRowsTo(backend, weight, indices, to),
    );
  },
  keptColumns: gatherColumns,
};

registerForm(['f32', 'bf16'], plainForm);
