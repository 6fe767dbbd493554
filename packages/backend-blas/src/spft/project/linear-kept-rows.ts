/** @file A frozen linear layer by kept rows of its weight. */
import type { BlasKernel } from '../../shared/call.js';
import { backward, forward } from './frozen-product.js';
import { keptOf, keptRows } from './kept-weight.js';

export const linearKeptRows: BlasKernel<'SpftLinearKeptRows'> = (call, { x, weight, indices, bias }) => {
  const rows = call.pool.native(keptRows(call, indices!, weight!));
  return forward(call, x!, rows, indices!.shape[0]!, bias ? keptOf(call, bias, indices!) : null);
};

export const linearKeptRowsGrad: BlasKernel<'SpftLinearKeptRowsGrad'> = (call, { dy, weight, indices }) =>
  backward(call, dy!, call.pool.native(keptRows(call, indices!, weight!)), weight!.shape[1]!);
