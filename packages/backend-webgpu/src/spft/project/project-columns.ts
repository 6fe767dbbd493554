/** @file A frozen linear layer with its branch on top of a residual stream: o. */
import type { KernelLayer, KernelSelection } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, output } from '../../shared/call.js';
import { Gather, multiply, plain, transposed } from '../../shared/product.js';
import { doraNorms, rescale, rescaleGrad } from './rescale.js';
import { addBranches, branchesOf, branchGradients, partsOf, type Rows, zeroRows } from './rows-of-layers.js';

type Info = tf.TensorInfo;

/** x·Wᵀ + bias + residual of rows that read the kept input channels, or all. */
function timesColumns(
  backend: Backend,
  x: Info,
  { weight, bias }: Pick<KernelLayer, 'weight' | 'bias'>,
  residual: Info | null,
  { x: y, from, to }: Rows,
  keep: KernelSelection | null,
): void {
  const [n, width] = weight.shape as [number, number];
  const added = residual ? { x: residual, row: n, offset: from * n } : undefined;
  const c = { x: y, row: n, offset: from * n };
  const product = { m: to - from, n, a: plain(x, from), b: transposed(weight), c, bias, added };
  if (!keep) multiply(backend, { ...product, k: width });
  else {
    const { indices, kept } = keep;
    multiply(backend, { ...product, k: kept, indices, gather: Gather.columnsOfAAndRowsOfB });
  }
}

/** y, then h, z and norms as far as there are any. */
function projectColumns({ backend, inputs, attributes }: Call<'SpftProjectColumns'>): Info[] {
  const { x, residual } = inputs;
  const { layer, denseRows } = attributes;
  const { weight, lora } = layer;
  const T = x.shape[0]!;
  const y = output(backend, [T, weight.shape[0]!]);
  // What a magnitude rescales is without the residual.
  const below = lora?.magnitude ? null : residual;
  for (const { from, to, keep } of partsOf(T, denseRows, layer.keep))
    timesColumns(backend, x, layer, below, { x: y, from, to }, keep);
  const h = addBranches(backend, x, branchesOf([layer]), [y]);
  if (!h) return [y];
  if (!lora?.magnitude) return [y, h];
  const norms = doraNorms(backend, weight, lora);
  return [rescale(backend, y, lora.magnitude, norms, residual), h, y, norms];
}

/** dx, then dA, dB and perhaps dmagnitude. */
function projectColumnsGrad({ backend, inputs, attributes }: Call<'SpftProjectColumnsGrad'>): Info[] {
  const { x, h } = inputs;
  const { layer, denseRows } = attributes;
  const { weight, lora } = layer;
  const [T, width] = x.shape as [number, number];
  const k = weight.shape[0]!;
  const magnitude = lora?.magnitude;
  const [dy, dm] = magnitude
    ? rescaleGrad(backend, inputs.z0!, magnitude, inputs.norms0!, inputs.dy)
    : [inputs.dy, null];
  const dx = output(backend, x.shape);
  for (const { from, to, keep } of partsOf(T, denseRows, layer.keep)) {
    const c = { x: dx, row: width, offset: from * width };
    const product = { m: to - from, k, a: plain(dy, from), b: plain(weight), c };
    if (!keep) {
      multiply(backend, { ...product, n: width });
      continue;
    }
    zeroRows(backend, { x: dx, from, to });
    const { indices, kept } = keep;
    multiply(backend, { ...product, n: kept, indices, gather: Gather.columnsOfB, scatter: true });
  }
  const gradients = h ? branchGradients(backend, x, h, branchesOf([layer]), [dy], dx) : [];
  if (dm) backend.disposeData(dy.dataId);
  return [dx, ...gradients.flat(), ...(dm ? [dm] : [])];
}

export const projectColumnsKernels = {
  SpftProjectColumns: projectColumns,
  SpftProjectColumnsGrad: projectColumnsGrad,
};
