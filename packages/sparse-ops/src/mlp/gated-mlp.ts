/**
 * @file The frozen gated MLP of a decoder layer on top of a residual stream, residual + down(silu(gate(x)) ⊙ up(x)). Sparse rows compute the
 * kept intermediate channels, and nothing of the others exists (SparseLoRA section 3).
 *
 * Composed of `linear`, `linearKeptRows`, `swiglu` and `linearKeptColumns`. A backend's kernel keeps the gathered weights from the forward to
 * the backward, adds up in the products, and copies no rows.
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { recordOp } from '../engine/record-op.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { someStored } from '../forms/stored-matrix.js';
import { checkLayer, type OnTopOptions, weightsOf } from '../project/frozen-layer.js';
import { linear } from '../project/linear.js';
import { linearKeptColumns } from '../project/linear-kept-columns.js';
import { linearKeptRows } from '../project/linear-kept-rows.js';
import { joinSlices, sliceRows } from '../tokens/row-slices.js';
import { swiglu } from './swiglu.js';

/** A frozen weight [out, in] and its bias [out] or null. */
export interface FrozenWeight {
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | null;
}

export interface MlpWeights {
  /** [I, H]. */
  readonly gate: FrozenWeight;
  /** [I, H]. */
  readonly up: FrozenWeight;
  /** [H, I]. */
  readonly down: FrozenWeight;
}

function compose(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  { gate, up, down }: MlpWeights,
  keep: ChannelSelection | null,
  denseRows: number,
): tf.Tensor2D {
  const dense = (rows: tf.Tensor2D) =>
    linear(swiglu(linear(rows, gate.weight, gate.bias), linear(rows, up.weight, up.bias)), down.weight, down.bias);
  if (keep === null) return tf.add(residual, dense(x));
  const sparse = (rows: tf.Tensor2D) =>
    linearKeptColumns(
      swiglu(linearKeptRows(rows, gate.weight, keep, gate.bias), linearKeptRows(rows, up.weight, keep, up.bias)),
      down.weight,
      keep,
      down.bias,
    );
  return tf.add(residual, joinSlices(sliceRows(x, denseRows), dense, sparse));
}

/**
 * @param x [T, H].
 * @param residual [T, H].
 * @param keep selection of the I intermediate channels for sparse rows; null for all.
 * @param denseRows D: rows before it compute every channel.
 * @param options `withOutput: false` where the result is not looked at, but a gradient is taken: it may then be anything.
 * @returns [T, H], owned by the caller. Differentiable in x and residual.
 * @throws RangeError when the shapes do not fit.
 */
export function gatedMlp(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  weights: MlpWeights,
  keep: ChannelSelection | null,
  denseRows: number,
  { withOutput = true }: OnTopOptions = {},
): tf.Tensor2D {
  const { gate, up, down } = weights;
  for (const { weight, bias } of [gate, up])
    checkLayer('gatedMlp', x, { weight, bias, keep, lora: null }, denseRows, 'outputs');
  const [I, H] = gate.weight.shape;
  const fits = up.weight.shape[0] === I && down.weight.shape[0] === H && down.weight.shape[1] === I;
  if (!fits || residual.shape[0] !== x.shape[0] || residual.shape[1] !== H) {
    throw new RangeError(
      `gatedMlp: gate [${gate.weight.shape}], up [${up.weight.shape}], down [${down.weight.shape}] and residual [${residual.shape}] must be ` +
        `[I, H], [I, H], [H, I] and [T, H] for x [${x.shape}]`,
    );
  }
  if (!hasKernel('SpftGatedMlp') || !hasKernel('SpftGatedMlpGrad') || someStored(weightsOf([gate, up, down]))) {
    return tf.tidy(() => compose(x, residual, weights, keep, denseRows));
  }
  const [y] = recordOp<[tf.Tensor2D]>({
    name: 'SpftGatedMlp',
    inputs: { x, residual },
    saves: keep ? [keep.indices] : [],
    reads: [gate, up, down].flatMap(({ weight, bias }) => [weight, bias]),
    run() {
      const attributes = { weights, keep, denseRows, withOutput };
      const [y, ...kept] = runKernel('SpftGatedMlp', { x, residual }, attributes);
      return { outputs: [y], kept };
    },
    gradient([dy], saved, living) {
      const kept = Object.fromEntries(saved.slice(keep ? 1 : 0).map((t, n) => [`kept${n}`, t]));
      const of = ({ weight, bias }: FrozenWeight) => ({ weight: living(weight), bias: living(bias) });
      const attributes = {
        weights: { gate: of(gate), up: of(up), down: of(down) },
        keep: keep && { ...keep, indices: saved[0] as tf.Tensor1D },
        denseRows,
      };
      const dx = runKernel('SpftGatedMlpGrad', { dy: dy!, ...kept }, attributes);
      return { x: dx, residual: sharing(dy!) };
    },
  });
  return y;
}
