/** @file What the ops that span several products know of a linear layer. */
import type * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import type { Living } from '../engine/outliving.js';
import { checkMatrix, checkSelection } from '../select/selection.js';
import { doraLinear } from './dora-linear.js';
import { checkLora, loraLinear } from './lora-linear.js';

/** A low-rank branch, + s·(x·Aᵀ)·Bᵀ, of LoRA; with a magnitude, DoRA, which rescales what it is added to. Its tensors get gradients. */
export interface LoraBranch {
  /** [r, in]. */
  readonly a: tf.Tensor2D;
  /** [out, r]. */
  readonly b: tf.Tensor2D;
  readonly scaling: number;
  /** [out], DoRA's; of layers without bias. */
  readonly magnitude?: tf.Tensor1D | null;
}

/** A frozen linear layer and what is done with it in one call. */
export interface FrozenLayer {
  /** [out, in]. */
  readonly weight: tf.Tensor2D;
  /** [out] or null. */
  readonly bias: tf.Tensor1D | null;
  /** The channels that sparse rows compute, of the layer's outputs or inputs as the op says; null for all. */
  readonly keep: ChannelSelection | null;
  /** Dense on all rows; null without an adapter. */
  readonly lora: LoraBranch | null;
}

/** Of an op on top of a residual stream. */
export interface OnTopOptions {
  /** false where nobody reads the result: gradient checkpointing runs a forward again for what its gradient needs, and no product is made for the rest. */
  readonly withOutput?: boolean;
}

/** @throws RangeError unless x [T, in] fits the layer, `denseRows` is one of its rows, and what is selected are its channels. */
export function checkLayer(
  op: string,
  x: tf.Tensor2D,
  { weight, bias, keep, lora }: FrozenLayer,
  denseRows: number,
  selected: 'outputs' | 'inputs',
): void {
  checkMatrix(op, 'x', x);
  const [out, inputs] = weight.shape;
  if (x.shape[1] !== inputs || (bias !== null && (bias.rank !== 1 || bias.size !== out))) {
    throw new RangeError(
      `${op}: x [${x.shape}] must have as many columns as weight [${weight.shape}], and bias [${bias?.shape ?? 'none'}] one number for ` +
        'each of its rows; pass weight as [out, in]',
    );
  }
  if (!Number.isInteger(denseRows) || denseRows < 0 || denseRows > x.shape[0]) {
    throw new RangeError(
      `${op}: denseRows is ${denseRows}, must be a whole number from 0 to ${x.shape[0]}, the rows of x`,
    );
  }
  if (keep) checkSelection(op, keep, `weight [${weight.shape}]`, selected === 'outputs' ? out : inputs);
  if (lora) checkLora(op, x, { rank: 2, shape: [x.shape[0], out] } as tf.Tensor2D, lora.a, lora.b);
  if (lora?.magnitude && (bias !== null || lora.magnitude.rank !== 1 || lora.magnitude.size !== out)) {
    throw new RangeError(
      `${op}: magnitude [${lora.magnitude.shape}] must have one number for each of ${out} outputs, of a layer without bias`,
    );
  }
}

/** `base` with the layer's branch, by the op for that. */
export function withBranch(x: tf.Tensor2D, base: tf.Tensor2D, { weight, lora }: FrozenLayer): tf.Tensor2D {
  if (lora === null) return base;
  const { a, b, scaling, magnitude } = lora;
  return magnitude ? doraLinear(x, base, a, b, magnitude, weight, scaling) : loraLinear(x, base, a, b, scaling);
}

/** The layers' weights. */
export const weightsOf = (layers: readonly { readonly weight: tf.Tensor2D }[]): tf.Tensor2D[] =>
  layers.map(({ weight }) => weight);

/** Tensors of the layers' branches, which get gradients, by name. */
export function branchTensors(layers: readonly FrozenLayer[]): Record<string, tf.Tensor> {
  const tensors: Record<string, tf.Tensor> = {};
  layers.forEach(({ lora }, n) => {
    if (lora === null) return;
    tensors[`a${n}`] = lora.a;
    tensors[`b${n}`] = lora.b;
    if (lora.magnitude) tensors[`m${n}`] = lora.magnitude;
  });
  return tensors;
}

/** What a gradient reads of the layers beside what it is given: weights, and branches, of which it is asked for the gradients. */
export function layerTensors(layers: readonly FrozenLayer[]): (tf.Tensor | null)[] {
  return layers.flatMap(({ weight, bias, lora }) => [
    weight,
    bias,
    lora?.a ?? null,
    lora?.b ?? null,
    lora?.magnitude ?? null,
  ]);
}

/** The layers of tensors that live. */
export function livingLayers(layers: readonly FrozenLayer[], living: Living): FrozenLayer[] {
  return layers.map((layer) => {
    const { weight, bias, lora } = layer;
    return {
      ...{ ...layer, weight: living(weight), bias: living(bias) },
      lora: lora && { ...lora, a: living(lora.a), b: living(lora.b), magnitude: living(lora.magnitude ?? null) },
    };
  });
}

/** What a kernel of several layers gives beside its outputs, for the kernel of the gradient. */
export interface LayersKept {
  /** x·[A…]ᵀ [T, Σr]; null where no layer has a branch. */
  readonly h: tf.Tensor | null;
  /** Of each layer with a magnitude: what it rescales [T, out], and the norms [out] that it divides by. */
  readonly rescaled: readonly { readonly layer: number; readonly z: tf.Tensor; readonly norms: tf.Tensor }[];
  /** Whatever else the kernel wants back, such as gathered weights. */
  readonly others: readonly tf.Tensor[];
}

/** Names what such a kernel gave, in its order: h, then z and norms of each layer with a magnitude, then others. */
export function nameKept(layers: readonly FrozenLayer[], kept: readonly tf.Tensor[]): LayersKept {
  const hasBranch = layers.some(({ lora }) => lora);
  let next = hasBranch ? 1 : 0;
  const rescaled = layers.flatMap(({ lora }, layer) =>
    lora?.magnitude ? [{ layer, z: kept[next++]!, norms: kept[next++]! }] : [],
  );
  return { h: hasBranch ? kept[0]! : null, rescaled, others: kept.slice(next) };
}

/** As inputs of a kernel: h, z<layer>, norms<layer>, kept0…. */
export function keptInputs({ h, rescaled, others }: LayersKept): Record<string, tf.Tensor> {
  const inputs: Record<string, tf.Tensor> = h ? { h } : {};
  for (const { layer, z, norms } of rescaled) {
    inputs[`z${layer}`] = z;
    inputs[`norms${layer}`] = norms;
  }
  others.forEach((tensor, n) => {
    inputs[`kept${n}`] = tensor;
  });
  return inputs;
}

/** The layers with selections that still live when the gradient is taken. */
export function withIndices(layers: readonly FrozenLayer[], saved: readonly tf.Tensor[]): FrozenLayer[] {
  let next = 0;
  return layers.map((layer) =>
    layer.keep ? { ...layer, keep: { ...layer.keep, indices: saved[next++] as tf.Tensor1D } } : layer,
  );
}
