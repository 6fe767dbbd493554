/** @file LoRA on top of a base product, and its gradients. */
import type { BlasKernel } from '../../shared/call.js';
import { addBranch, branchGrad, eachBlock } from './branch.js';

export const loraLinear: BlasKernel<'SpftLoraLinear'> = (call, { x, base, loraA, loraB }, { scaling }) => {
  const [out, r] = loraB!.shape as [number, number];
  const T = x!.shape[0]!;
  const [y, h] = [call.output([T, out]), call.output([T, r])];
  const tensors = { x: x!, base: base!, loraA: loraA!, loraB: loraB!, y, h };
  eachBlock(call, T, (from, rows) => addBranch(call, tensors, scaling, from, rows));
  return [y, h];
};

export const loraLinearGrad: BlasKernel<'SpftLoraLinearGrad'> = (call, { x, h, loraA, loraB, dy }, { scaling }) => {
  const tensors = { x: x!, h: h!, loraA: loraA!, loraB: loraB!, dz: dy!, dy: dy! };
  const { dx, dA, dB } = branchGrad(call, tensors, scaling);
  return [dx, dA, dB];
};
