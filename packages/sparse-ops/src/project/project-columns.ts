/**
 * @file A frozen linear layer with its adapter on top of a residual stream: o of a decoder layer. Sparse rows use the kept input channels
 * (SparseLoRA section 3), the adapter all of them.
 *
 * Composed of `linear`, `gatherColumns`, `linearKeptColumns`, `loraLinear` and a sum. A backend's kernel adds up in the products themselves.
 */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { recordOp } from '../engine/record-op.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { someStored } from '../forms/stored-matrix.js';
import { gatherColumns } from '../select/gather-columns.js';
import { joinSlices, sliceRows } from '../tokens/row-slices.js';
import {
  branchTensors,
  checkLayer,
  type FrozenLayer,
  keptInputs,
  layerTensors,
  livingLayers,
  nameKept,
  type OnTopOptions,
  withBranch,
  withIndices,
} from './frozen-layer.js';
import { linear } from './linear.js';
import { linearKeptColumns } from './linear-kept-columns.js';

function compose(x: tf.Tensor2D, residual: tf.Tensor2D, layer: FrozenLayer, denseRows: number): tf.Tensor2D {
  const { weight, bias, keep } = layer;
  const base = keep
    ? joinSlices(
        sliceRows(x, denseRows),
        (dense) => linear(dense, weight, bias),
        (sparse) => linearKeptColumns(gatherColumns(sparse, keep), weight, keep, bias),
      )
    : linear(x, weight, bias);
  return tf.add(residual, withBranch(x, base, layer));
}

/**
 * residual + x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ.
 * @param x [T, in].
 * @param residual [T, out].
 * @param layer weight [out, in]; `keep` selects input channels.
 * @param denseRows D: rows before it use every channel.
 * @param options `withOutput: false` where the result is not looked at, but a gradient is taken: it may then be anything.
 * @returns [T, out], owned by the caller. Differentiable in x, residual and the branch.
 * @throws RangeError when the shapes do not fit.
 */
export function projectColumns(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  layer: FrozenLayer,
  denseRows: number,
  { withOutput = true }: OnTopOptions = {},
): tf.Tensor2D {
  checkLayer('projectColumns', x, layer, denseRows, 'inputs');
  const { weight, keep } = layer;
  if (residual.shape[0] !== x.shape[0] || residual.shape[1] !== weight.shape[0]) {
    throw new RangeError(`projectColumns: residual [${residual.shape}] must be [${x.shape[0]},${weight.shape[0]}]`);
  }
  if (!hasKernel('SpftProjectColumns') || !hasKernel('SpftProjectColumnsGrad') || someStored([weight])) {
    return tf.tidy(() => compose(x, residual, layer, denseRows));
  }
  const branches = branchTensors([layer]);
  const [y] = recordOp<[tf.Tensor2D]>({
    name: 'SpftProjectColumns',
    inputs: { x, residual, ...branches },
    saves: [x, ...(keep ? [keep.indices] : [])],
    reads: layerTensors([layer]),
    run() {
      const [y, ...kept] = runKernel('SpftProjectColumns', { x, residual }, { layer, denseRows, withOutput });
      return { outputs: [y], kept };
    },
    gradient([dy], [x, ...saved], living) {
      const kept = keptInputs(nameKept([layer], saved.slice(keep ? 1 : 0)));
      const attributes = { layer: withIndices(livingLayers([layer], living), saved)[0]!, denseRows };
      const inputs = { x: x!, dy: dy!, ...kept };
      const [dx, ...others] = runKernel('SpftProjectColumnsGrad', inputs, attributes);
      const ofBranch = Object.fromEntries(Object.keys(branches).map((name, n) => [name, others[n]!]));
      return { x: dx, residual: sharing(dy!), ...ofBranch };
    },
  });
  return y;
}
