/**
 * @file Several frozen linear layers of one input, with their adapters: q, k and v of a decoder layer. Sparse rows compute the kept output
 * channels, the dropped ones carry the adapter's term alone (SparseLoRA section 3).
 *
 * Composed of `linear`, `linearKeptRows`, `scatterColumns` and `loraLinear`. A backend's kernel sees all layers at once: it reads x once for
 * every A, accumulates the gradients of x where they belong, and needs no row of anything copied to take dense and sparse rows apart.
 */
import * as tf from '@tensorflow/tfjs';
import { checkLayer, type FrozenLayer, withBranch } from './frozen-layer.js';
import { linear } from './linear.js';
import { linearKeptRows } from './linear-kept-rows.js';
import { hasKernel, runOp } from './op.js';
import { recordOp } from './record-op.js';
import { joinSlices, sliceRows } from './row-slices.js';
import { scatterColumns } from './scatter-columns.js';

/** Input x; attributes layers, denseRows; outputs y of each layer, then h = x·[A…]ᵀ [T, Σr] where a layer has a branch. */
export const PROJECT_ROWS = 'SpftProjectRows';
/** Inputs x, dy0…, perhaps h; attributes layers, denseRows; outputs dx, then dA and dB of each layer that has a branch. */
export const PROJECT_ROWS_GRAD = 'SpftProjectRowsGrad';

function compose(x: tf.Tensor2D, layers: readonly FrozenLayer[], denseRows: number): tf.Tensor2D[] {
  const rows = layers.some(({ keep }) => keep) ? sliceRows(x, denseRows) : { all: x, dense: x, sparse: null };
  return layers.map(({ weight, bias, keep, lora }) => {
    const base = keep
      ? joinSlices(
          rows,
          (dense) => linear(dense, weight, bias),
          (sparse) => scatterColumns(linearKeptRows(sparse, weight, keep, bias), keep),
        )
      : linear(x, weight, bias);
    return withBranch(x, base, lora);
  });
}

/** Tensors of the layers that get gradients, by name. */
function branchInputs(layers: readonly FrozenLayer[]): Record<string, tf.Tensor> {
  return Object.fromEntries(
    layers.flatMap(({ lora }, n) =>
      lora
        ? [
            [`a${n}`, lora.a],
            [`b${n}`, lora.b],
          ]
        : [],
    ),
  );
}

/**
 * @param x [T, in].
 * @param layers weights [out, in]; `keep` selects output channels.
 * @param denseRows D: rows before it compute every channel of every layer.
 * @returns y [T, out] of each layer, owned by the caller. Differentiable in x and in the branches.
 * @throws RangeError when the shapes do not fit.
 */
export function projectRows(x: tf.Tensor2D, layers: readonly FrozenLayer[], denseRows: number): tf.Tensor2D[] {
  for (const layer of layers) checkLayer('projectRows', x, layer, denseRows, 'outputs');
  if (!hasKernel(PROJECT_ROWS) || !hasKernel(PROJECT_ROWS_GRAD)) return tf.tidy(() => compose(x, layers, denseRows));
  const branches = branchInputs(layers);
  const indices = layers.flatMap(({ keep }) => keep?.indices ?? []);
  return recordOp<tf.Tensor2D[]>({
    name: PROJECT_ROWS,
    inputs: { x, ...branches },
    saves: [x, ...indices],
    run() {
      const outputs = runOp<tf.Tensor[]>(PROJECT_ROWS, { x }, { layers, denseRows }, () => []);
      return { outputs: outputs.slice(0, layers.length) as tf.Tensor2D[], kept: outputs.slice(layers.length) };
    },
    gradient(dys, [x, ...saved]) {
      const h = saved[indices.length];
      const inputs = { x: x!, ...Object.fromEntries(dys.map((dy, n) => [`dy${n}`, dy])), ...(h && { h }) };
      const attributes = { layers: withIndices(layers, saved as tf.Tensor1D[]), denseRows };
      const [dx, ...others] = runOp<tf.Tensor[]>(PROJECT_ROWS_GRAD, inputs, attributes, () => []);
      return { x: dx!, ...Object.fromEntries(Object.keys(branches).map((name, n) => [name, others[n]!])) };
    },
  });
}

/** The layers with selections that still live when the gradient is taken. */
export function withIndices(layers: readonly FrozenLayer[], saved: readonly tf.Tensor1D[]): FrozenLayer[] {
  let next = 0;
  return layers.map((layer) => (layer.keep ? { ...layer, keep: { ...layer.keep, indices: saved[next++]! } } : layer));
}
