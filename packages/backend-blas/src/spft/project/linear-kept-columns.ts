/** @file A frozen linear layer by kept columns of its weight. */
import type { BlasKernel } from '../../shared/call.js';
import { backward, forward } from './frozen-product.js';
import { keptColumns } from './kept-weight.js';

export const linearKeptColumns: BlasKernel<'SpftLinearKeptColumns'> = (call, { x, weight, indices, bias }) => {
  const columns = call.pool.native(keptColumns(call, weight!, indices!));
  return forward(call, x!, columns, weight!.shape[0]!, bias ? call.at(bias) : null);
};

export const linearKeptColumnsGrad: BlasKernel<'SpftLinearKeptColumnsGrad'> = (call, { dy, weight, indices }) =>
  backward(call, dy!, call.pool.native(keptColumns(call, weight!, indices!)), indices!.shape[0]!);
