/**
 * @file Several frozen linear layers of one input, with their adapters: q, k and v of a decoder layer. Sparse rows compute the kept output
 * channels, the dropped ones carry the adapter's term alone (SparseLoRA section 3).
 *
 * Composed of `linear`, `linearKeptRows`, `scatterColumns` and `loraLinear`. A backend's kernel sees all layers at once: it reads x once for
 * every A, accumulates the gradients of x where they belong, and needs no row of anything copied to take dense and sparse rows apart.
 */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { recomputed, recordOp } from '../engine/record-op.js';
import { isConstant } from '../engine/tape.js';
import { someStored } from '../forms/stored-matrix.js';
import { scatterColumns } from '../select/scatter-columns.js';
import { joinSlices, sliceRows } from '../tokens/row-slices.js';
import {
  branchTensors,
  checkLayer,
  type FrozenLayer,
  keptInputs,
  layerTensors,
  livingLayers,
  nameKept,
  weightsOf,
  withBranch,
  withIndices,
} from './frozen-layer.js';
import { linear } from './linear.js';
import { linearKeptRows } from './linear-kept-rows.js';
import { rescaleColumns } from './rescale-columns.js';

function compose(x: tf.Tensor2D, layers: readonly FrozenLayer[], denseRows: number): tf.Tensor2D[] {
  const rows = layers.some(({ keep }) => keep) ? sliceRows(x, denseRows) : { all: x, dense: x, sparse: null };
  return layers.map((layer) => {
    const { weight, bias, keep } = layer;
    const base = keep
      ? joinSlices(
          rows,
          (dense) => linear(dense, weight, bias),
          (sparse) => scatterColumns(linearKeptRows(sparse, weight, keep, bias), keep),
        )
      : linear(x, weight, bias);
    return withBranch(x, base, layer);
  });
}

export interface ProjectRowsOptions {
  /** Whether the first two results go to `ropeAttention` as q and k: a backend may leave something of them to it. They are the same to whoever reads them. */
  readonly turnedNext?: boolean;
}

/**
 * @param x [T, in].
 * @param layers weights [out, in]; `keep` selects output channels.
 * @param denseRows D: rows before it compute every channel of every layer.
 * @param options `turnedNext: true` where the first two results are q and k of `ropeAttention`.
 * @returns y [T, out] of each layer, owned by the caller. Differentiable in x and in the branches.
 * @throws RangeError when the shapes do not fit.
 */
export function projectRows(
  x: tf.Tensor2D,
  layers: readonly FrozenLayer[],
  denseRows: number,
  { turnedNext = false }: ProjectRowsOptions = {},
): tf.Tensor2D[] {
  for (const layer of layers) checkLayer('projectRows', x, layer, denseRows, 'outputs');
  if (!hasKernel('SpftProjectRows') || !hasKernel('SpftProjectRowsGrad') || someStored(weightsOf(layers)))
    return tf.tidy(() => compose(x, layers, denseRows));
  const branches = branchTensors(layers);
  const withInput = !isConstant(x);
  const indices = layers.flatMap(({ keep }) => keep?.indices ?? []);
  return recordOp<tf.Tensor2D[]>({
    name: 'SpftProjectRows',
    inputs: withInput ? { x, ...branches } : branches,
    saves: [x, ...indices],
    reads: layerTensors(layers),
    run() {
      const made = runKernel('SpftProjectRows', { x }, { layers, denseRows, ...(turnedNext && { turnedNext }) });
      const [outputs, kept] = [made.slice(0, layers.length) as tf.Tensor2D[], made.slice(layers.length)];
      for (const { layer, z, norms } of nameKept(layers, kept).rescaled) {
        const magnitude = layers[layer]!.lora!.magnitude!;
        const ends = outliving([magnitude]);
        recomputed(outputs[layer]!, [z, norms, ...ends.saves], ([z, norms, ...saved]) =>
          rescaleColumns(z as tf.Tensor2D, ends.from(saved)(magnitude), norms as tf.Tensor1D),
        );
      }
      return { outputs, kept };
    },
    gradient(dys, [x, ...saved], living) {
      const kept = keptInputs(nameKept(layers, saved.slice(indices.length)));
      const inputs = { x: x!, ...Object.fromEntries(dys.map((dy, n) => [`dy${n}`, dy])), ...kept };
      const attributes = { layers: withIndices(livingLayers(layers, living), saved), denseRows, withInput };
      const made = runKernel('SpftProjectRowsGrad', inputs, attributes) as tf.Tensor[];
      const others = withInput ? made.slice(1) : made;
      const ofBranches = Object.fromEntries(Object.keys(branches).map((name, n) => [name, others[n]!]));
      return withInput ? { x: made[0]!, ...ofBranches } : ofBranches;
    },
  });
}
