/**
 * @file AdamW with moments in 8 bits, as bitsandbytes' `AdamW8bit` and transformers' Trainer have it: parameters of fewer than 4096 numbers, and
 * embeddings that are trained in full, have moments of 32 bits.
 */
import {
  type Adamw8bitState,
  adamw8bitUpdate,
  adamwUpdate,
  momentTablesTensor,
  zeroMoments8bit,
} from '@spft/sparse-ops';
import { adamwNumbers } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { type Group, MomentOptimizer, type OptimizerArgs, type OptimizerStep, pick } from './moment-optimizer.js';

/** bitsandbytes' `min_8bit_size`. */
const LEAST_8BIT = 4096;
/** An embedding's own weight, which Trainer registers for 32 bits; not LoRA's factors on one. */
const EMBEDDING = /(^|\.)embed_tokens\.(modules_to_save\.(\w+\.)?)?weight$/;

/** Where a parameter's moments are: its place among those of its kind. */
type Place = { readonly bits: 8 | 32; readonly index: number };

export class Adamw8bit extends MomentOptimizer {
  readonly name = 'adamw_8bit';
  readonly #places: readonly Place[];
  readonly #state: Adamw8bitState;
  readonly #first: readonly tf.Variable[];
  readonly #second: readonly tf.Variable[];
  readonly #tables: tf.Tensor2D;

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables, args.weightDecay);
    const counts = { 8: 0, 32: 0 };
    this.#places = this.parameters.map(({ size }, n) => {
      const bits = size < LEAST_8BIT || EMBEDDING.test(this.names[n]!) ? 32 : 8;
      return { bits, index: counts[bits]++ };
    });
    const of = (bits: 8 | 32) => this.#places.flatMap((place, n) => (place.bits === bits ? [n] : []));
    const [small, large] = [of(32), of(8)];
    [this.#first, this.#second] = ['exp_avg', 'exp_avg_sq'].map((kind) =>
      small.map((n) => this.rememberAs(kind, this.names[n]!, this.parameters[n]!.shape)),
    ) as [tf.Variable[], tf.Variable[]];
    this.#state = zeroMoments8bit(pick(this.parameters, large));
    const { firstCodes, firstScales, secondCodes, secondScales } = this.#state;
    for (const [kind, moments] of Object.entries({
      ...{ state1: firstCodes, absmax1: firstScales, state2: secondCodes, absmax2: secondScales },
    })) {
      moments.forEach((moment, index) => {
        this.moments.set(`${kind}.${this.names[large[index]!]}`, moment);
      });
    }
    this.#tables = momentTablesTensor();
  }

  override update(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    const { learningRate, gradientScale } = options;
    for (const group of this.groups) {
      const common = { ...this.#options(group, learningRate), gradientScale, ...this.recorded(options, group) };
      const [large, small] = ([8, 32] as const).map((bits) =>
        group.indices.filter((n) => this.#places[n]!.bits === bits),
      );
      const places = (indices: readonly number[]) => indices.map((n) => this.#places[n]!.index);
      if (large!.length > 0) {
        const { firstCodes, firstScales, secondCodes, secondScales } = this.#state;
        const at = places(large!);
        const state = {
          ...{ firstCodes: pick(firstCodes, at), firstScales: pick(firstScales, at) },
          ...{ secondCodes: pick(secondCodes, at), secondScales: pick(secondScales, at) },
        };
        adamw8bitUpdate(pick(this.parameters, large!), pick(gradients, large!), state, this.#tables, common);
      }
      if (small!.length > 0) {
        const at = places(small!);
        const state = { firstMoments: pick(this.#first, at), secondMoments: pick(this.#second, at) };
        adamwUpdate(pick(this.parameters, small!), pick(gradients, small!), state, common);
      }
    }
  }

  override dispose(): void {
    super.dispose();
    this.#tables.dispose();
  }

  protected override numbersOf(group: Group, learningRate: number): readonly number[] {
    return adamwNumbers(this.#options(group, learningRate));
  }

  #options({ weightDecay }: Group, learningRate: number) {
    const { adamBeta1: beta1, adamBeta2: beta2, adamEpsilon: epsilon } = this.args;
    return { learningRate, step: this.steps + 1, weightDecay, beta1, beta2, epsilon };
  }
}
