/**
 * @file The gated MLP of a decoder layer with LoRA or DoRA on any of its three layers, residual + down(silu(gate(x)) ⊙ up(x)): what `gatedMlp` is of
 * plain layers. Of `projectRows`, `swiglu` and `projectColumns`, so that gate and up read x once, and down adds to the residual; or one kernel, where the
 * backend has one and it does better, which the kernel itself says (`SpftLoraMlp`).
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { recordOp } from '../engine/record-op.js';
import { noGradient } from '../engine/tape.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { someStored } from '../forms/stored-matrix.js';
import {
  branchTensors,
  checkLayer,
  type FrozenLayer,
  layerTensors,
  livingLayers,
  type OnTopOptions,
  weightsOf,
} from '../project/frozen-layer.js';
import { projectColumns } from '../project/project-columns.js';
import { projectRows } from '../project/project-rows.js';
import { gatedMlp } from './gated-mlp.js';
import { swiglu } from './swiglu.js';

/** A layer of the MLP; what is selected is the same for all three. */
export type MlpLayer = Omit<FrozenLayer, 'keep'>;

export interface MlpLayers {
  /** [I, H]. */
  readonly gate: MlpLayer;
  /** [I, H]. */
  readonly up: MlpLayer;
  /** [H, I]. */
  readonly down: MlpLayer;
}

/**
 * On sparse rows dropped channels carry the adapters' terms alone, as upstream has them: without an adapter on gate or up they are zero, and nothing of
 * them is computed.
 * @param x [T, H].
 * @param residual [T, H].
 * @param keep selection of the I intermediate channels for sparse rows; null for all.
 * @param denseRows D: rows before it compute every channel.
 * @param options `withOutput: false` where the result is not looked at, but a gradient is taken: it may then be anything.
 * @returns [T, H], owned by the caller. Differentiable in x, residual and the branches.
 * @throws RangeError when the shapes do not fit.
 */
export function loraMlp(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  { gate, up, down }: MlpLayers,
  keep: ChannelSelection | null,
  denseRows: number,
  options: OnTopOptions = {},
): tf.Tensor2D {
  const plain = gate.lora === null && up.lora === null && down.lora === null;
  if (plain) return gatedMlp(x, residual, { gate, up, down }, keep, denseRows, options);
  const whole = byOneKernel(x, residual, { gate, up, down }, keep, denseRows, options);
  if (whole) return whole;
  return tf.tidy(() => {
    const rows = [gate, up].map((layer) => ({ ...layer, keep }));
    const [g, u] = projectRows(x, rows, denseRows) as [tf.Tensor2D, tf.Tensor2D];
    return projectColumns(swiglu(g, u), residual, { ...down, keep }, denseRows, options);
  });
}

/** The same by the kernel for all of it, or null where the backend has none, or its kernels for the parts do better. */
function byOneKernel(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  layers: MlpLayers,
  keep: ChannelSelection | null,
  denseRows: number,
  { withOutput = true }: OnTopOptions,
): tf.Tensor2D | null {
  const { gate, up, down } = layers;
  const all = [gate, up, down].map((layer): FrozenLayer => ({ ...layer, keep: null }));
  if (!hasKernel('SpftLoraMlp') || !hasKernel('SpftLoraMlpGrad') || someStored(weightsOf(all))) return null;
  for (const layer of [gate, up]) checkLayer('loraMlp', x, { ...layer, keep }, denseRows, 'outputs');
  const [I, H] = gate.weight.shape;
  const fits = up.weight.shape[0] === I && down.weight.shape[0] === H && down.weight.shape[1] === I;
  // The parts say what is wrong.
  if (!fits || residual.shape[0] !== x.shape[0] || residual.shape[1] !== H) return null;
  const attributes = { layers, keep, denseRows };
  const [y, ...kept] = noGradient(() => runKernel('SpftLoraMlp', { x, residual }, { ...attributes, withOutput }));
  if (!y) return null;
  const branches = branchTensors(all);
  const [recorded] = recordOp<[tf.Tensor2D]>({
    name: 'SpftLoraMlp',
    inputs: { x, residual, ...branches },
    saves: [x, ...(keep ? [keep.indices] : [])],
    reads: layerTensors(all),
    run: () => ({ outputs: [y], kept }),
    gradient([dy], [x, ...saved], living) {
      const named = Object.fromEntries(saved.slice(keep ? 1 : 0).map((t, n) => [`kept${n}`, t]));
      const inputs = { x: x as tf.Tensor2D, dy: dy as tf.Tensor2D, ...named };
      const lives = livingLayers(all, living);
      const [gate, up, down] = [lives[0]!, lives[1]!, lives[2]!];
      const lasting = {
        layers: { gate, up, down },
        keep: keep && { ...keep, indices: saved[0] as tf.Tensor1D },
        denseRows,
      };
      const [dx, ...others] = runKernel('SpftLoraMlpGrad', inputs, lasting);
      const ofBranches = Object.fromEntries(Object.keys(branches).map((name, n) => [name, others[n]!]));
      return { x: dx, residual: sharing(dy!), ...ofBranches };
    },
  });
  return recorded;
}
