/** @file Rows of tables that may be in a stored form (forms/), as an embedding in four bits: of such a one nothing but the wanted rows is unpacked. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inPlain } from '../../forms/form.js';
import { rowsOfFourBit } from '../../forms/four-bit.js';
import type { CudaKernels } from '../contract.js';
import { gatherRows, gatherRowsGrad } from './gather-rows.js';

/**
 * @param x [M, n], in any form. @param rows int32 [R]; of one below 0 zeros are given.
 * @returns x[rows] [R, n], plain, owned by the caller.
 */
const rowsOf = (backend: CudaBackend, x: TensorInfo, rows: TensorInfo): TensorInfo =>
  backend.physical(x) === 'u4'
    ? rowsOfFourBit(backend, [x], [rows], backend.weightType)
    : inPlain(backend, x, (plain) => gatherRows(backend, plain, rows));

/** Kernels of the contract. */
export const gatherRowsKernels = {
  SpftGatherRows: ({ backend, inputs: { x, rows } }) => rowsOf(backend, x, rows),
  SpftGatherRowsGrad: ({ backend, inputs: { dy, rows }, attributes: { total } }) =>
    gatherRowsGrad(backend, dy, rows, total),
} satisfies CudaKernels;
