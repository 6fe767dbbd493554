/** @file A frozen linear layer with all of its channels. */
import type { BlasKernel } from '../../shared/call.js';
import { backward, forward } from './frozen-product.js';

export const linear: BlasKernel<'SpftLinear'> = (call, { x, weight, bias }) =>
  forward(call, x!, call.native(weight!), weight!.shape[0]!, bias ? call.at(bias) : null);

export const linearGrad: BlasKernel<'SpftLinearGrad'> = (call, { dy, weight }) =>
  backward(call, dy!, call.native(weight!), weight!.shape[1]!);
