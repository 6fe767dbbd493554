/**
 * @file Cosines and sines of rotary position embeddings, made once a model on the host.
 *
 * Same numbers as transformers' `compute_default_rope_parameters` and its scalings (rope-scaling.ts), which calculate in float32: at position 100,000 the rounding of a frequency moves its angle by 0.01, so we round where they do.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { attentionFactorOf, plainFrequencies, type RopeScaling, scaledFrequencies } from './rope-scaling.js';

export interface RopeOptions {
  /** d, even. */
  readonly headDim: number;
  /** Base of the frequencies; `rope_theta` in config.json. */
  readonly theta: number;
  /** Positions to make, from 0. */
  readonly positions: number;
  readonly scaling?: RopeScaling | { readonly ropeType: 'default' } | null;
  /** Length of the longest sequence at hand; dynamic scaling depends on it beyond the model's own context. Default: `positions`. */
  readonly length?: number;
}

const OPTIONS: OptionNames<RopeOptions> = { headDim: true, theta: true, positions: true, scaling: true, length: true };

/** Row p of `cos` and `sin` belongs to position p; column i to dimensions i and i + halfDim of a head. */
export interface RopeTables {
  /** [positions, halfDim] row-major. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly positions: number;
  readonly halfDim: number;
}

const f32 = Math.fround;

/** [halfDim] angle per position of each pair of dimensions, scaling applied. @throws RangeError when headDim is odd or the scaling is of an unknown type. */
export function ropeFrequencies(options: Omit<RopeOptions, 'positions'>): Float32Array {
  const { headDim, theta, scaling } = options;
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0) {
    throw new RangeError(
      `ropeTables: headDim is ${headDim}; rotation pairs dimensions, so it must be even and positive`,
    );
  }
  if (scaling == null || scaling.ropeType === 'default') return plainFrequencies(headDim, theta);
  return scaledFrequencies(headDim, theta, scaling, options.length ?? 0);
}

/** @throws RangeError when headDim is odd or the scaling is of an unknown type. */
export function ropeTables(options: RopeOptions): RopeTables {
  assertKnownOptions('ropeTables', options, OPTIONS);
  const frequencies = ropeFrequencies({ ...options, length: options.length ?? options.positions });
  const factor = f32(attentionFactorOf(options.scaling));
  const halfDim = frequencies.length;
  const cos = new Float32Array(options.positions * halfDim);
  const sin = new Float32Array(options.positions * halfDim);
  for (let p = 0, at = 0; p < options.positions; p++) {
    for (let i = 0; i < halfDim; i++, at++) {
      const angle = f32(p * frequencies[i]!);
      cos[at] = f32(Math.cos(angle)) * factor;
      sin[at] = f32(Math.sin(angle)) * factor;
    }
  }
  return { cos, sin, positions: options.positions, halfDim };
}

/**
 * The rows of the tables for a batch, e.g. for `layout.positionOfRow`.
 * @returns cos and sin, each [positions.length, d/2], owned by the caller.
 * @throws RangeError when a position lies outside the tables.
 */
export function ropeRows(tables: RopeTables, positions: ArrayLike<number>): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
  const { halfDim } = tables;
  const cos = new Float32Array(positions.length * halfDim);
  const sin = new Float32Array(positions.length * halfDim);
  for (let row = 0; row < positions.length; row++) {
    const p = positions[row]!;
    if (!(p >= 0 && p < tables.positions)) {
      throw new RangeError(
        `ropeRows: position ${p} of row ${row} is outside the tables, which end at ${tables.positions - 1}`,
      );
    }
    cos.set(tables.cos.subarray(p * halfDim, (p + 1) * halfDim), row * halfDim);
    sin.set(tables.sin.subarray(p * halfDim, (p + 1) * halfDim), row * halfDim);
  }
  const shape: [number, number] = [positions.length, halfDim];
  return { cos: tf.tensor2d(cos, shape), sin: tf.tensor2d(sin, shape) };
}
