/** @file The weights of one decoder layer as plain tensors, with LoRA on all seven projections. */
import type { HeadLayout, LoraBranch, PackedLayout, RopeTables } from '@spft/sparse-ops';
import { packTokens, ropeTables } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

export const PROJECTIONS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
export type Projection = (typeof PROJECTIONS)[number];

/** H, I, V and r. */
export const [HIDDEN, CHANNELS, VOCABULARY, RANK] = [32, 96, 40, 4];
export const HEADS: HeadLayout = { heads: 4, kvHeads: 2, headDim: 8 };
export const EPS = 1e-5;

export interface Layer {
  /** Frozen, [out, in]. */
  readonly weights: Readonly<Record<Projection, tf.Tensor2D>>;
  /** Frozen, [H]. */
  readonly norms: readonly [tf.Tensor1D, tf.Tensor1D];
  /** Frozen, [V, H]. */
  readonly head: tf.Tensor2D;
  /** A [r, in] and B [out, r], trained. */
  readonly branches: Readonly<Record<Projection, LoraBranch>>;
  readonly variables: readonly tf.Variable[];
  readonly tables: RopeTables;
}

/** A batch: rows of the embedding [T, H], its layout, and the labels of its dense tokens, which are rows [0, D). */
export interface Batch {
  readonly x: tf.Tensor2D;
  readonly layout: PackedLayout;
  readonly labels: tf.Tensor1D;
}

/** tfjs takes a seed of 0 for none. */
const random = (shape: number[], scale: number, seed: number) => tf.randomNormal(shape, 0, scale, 'float32', seed);

export function makeLayer(): Layer {
  const kv = HEADS.kvHeads * HEADS.headDim;
  const sizes: Record<Projection, readonly [out: number, inputs: number]> = {
    ...{ q: [HIDDEN, HIDDEN], k: [kv, HIDDEN], v: [kv, HIDDEN], o: [HIDDEN, HIDDEN] },
    ...{ gate: [CHANNELS, HIDDEN], up: [CHANNELS, HIDDEN], down: [HIDDEN, CHANNELS] },
  };
  const of = <T>(make: (out: number, inputs: number, seed: number) => T) =>
    Object.fromEntries(PROJECTIONS.map((name, n) => [name, make(...sizes[name], n + 1)])) as Record<Projection, T>;
  const variables: tf.Variable[] = [];
  const variable = (tensor: tf.Tensor) => {
    variables.push(tf.variable(tensor));
    return variables.at(-1) as tf.Tensor as tf.Tensor2D;
  };
  return {
    weights: of((out, inputs, seed) => random([out, inputs], inputs ** -0.5, seed) as tf.Tensor2D),
    branches: of((out, inputs, seed) => ({
      a: variable(random([RANK, inputs], inputs ** -0.5, 100 + seed)),
      b: variable(random([out, RANK], 0.1, 200 + seed)),
      scaling: 2,
    })),
    norms: [tf.ones([HIDDEN]), tf.ones([HIDDEN])],
    head: random([VOCABULARY, HIDDEN], HIDDEN ** -0.5, 300) as tf.Tensor2D,
    tables: ropeTables({ headDim: HEADS.headDim, theta: 10000, positions: 64 }),
    variables,
  };
}

/** Sequences of 20 and 12 tokens, of which the last 4 of each have a label: those are computed densely. */
export function makeBatch(): Batch {
  const lengths = [20, 12];
  const layout = packTokens({ lengths, dense: (token) => (token >= 16 && token < 20) || token >= 28 });
  const labels = Array.from({ length: layout.denseTokens }, (_, n) => (7 * n + 3) % VOCABULARY);
  return { x: random([layout.tokens, HIDDEN], 1, 400) as tf.Tensor2D, layout, labels: tf.tensor1d(labels, 'int32') };
}
