/**
 * @file Cosines and sines of rotary position embeddings, made once a model on the host.
 *
 * Same numbers as transformers' `_compute_default_rope_parameters` and `_compute_llama3_parameters` (modeling_rope_utils.py), which
 * calculate in float32: at position 100,000 the rounding of a frequency moves its angle by 0.01, so we round where they do.
 */
import * as tf from '@tensorflow/tfjs';

/** Llama 3.1's scaling: long wavelengths are stretched by `factor`, short ones kept, those between interpolated. */
export interface Llama3RopeScaling {
  readonly ropeType: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

export interface RopeOptions {
  /** d, even. */
  readonly headDim: number;
  /** Base of the frequencies; `rope_theta` in config.json. */
  readonly theta: number;
  /** Positions to make, from 0. */
  readonly positions: number;
  readonly scaling?: Llama3RopeScaling | { readonly ropeType: 'default' } | null;
}

/** Row p of `cos` and `sin` belongs to position p; column i to dimensions i and i + halfDim of a head. */
export interface RopeTables {
  /** [positions, halfDim] row-major. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly positions: number;
  readonly halfDim: number;
}

const f32 = Math.fround;

/** [halfDim] angle per position of each pair of dimensions, scaling applied. */
export function ropeFrequencies(options: Omit<RopeOptions, 'positions'>): Float32Array {
  const { headDim, theta, scaling } = options;
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0) {
    throw new RangeError(
      `ropeTables: headDim is ${headDim}; rotation pairs dimensions, so it must be even and positive`,
    );
  }
  const frequencies = Float32Array.from(
    { length: headDim / 2 },
    (_, i) => 1 / f32(f32(theta) ** f32((2 * i) / headDim)),
  );
  if (scaling == null || scaling.ropeType === 'default') return frequencies;
  if (scaling.ropeType !== 'llama3') {
    throw new RangeError(
      `ropeTables: unknown ropeType '${(scaling as { ropeType: string }).ropeType}'; 'default' and 'llama3' are known`,
    );
  }
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: context } = scaling;
  const [longest, shortest] = [context / lowFreqFactor, context / highFreqFactor];
  return frequencies.map((frequency) => {
    const wavelength = f32((2 * Math.PI) / frequency);
    if (wavelength < shortest) return frequency;
    if (wavelength > longest) return frequency / factor;
    const smooth = f32(f32(f32(context / wavelength) - lowFreqFactor) / (highFreqFactor - lowFreqFactor));
    return f32(f32(f32(1 - smooth) * frequency) / factor) + f32(smooth * frequency);
  });
}

/** @throws RangeError when headDim is odd or the scaling is of an unknown type. */
export function ropeTables(options: RopeOptions): RopeTables {
  const frequencies = ropeFrequencies(options);
  const halfDim = frequencies.length;
  const cos = new Float32Array(options.positions * halfDim);
  const sin = new Float32Array(options.positions * halfDim);
  for (let p = 0, at = 0; p < options.positions; p++) {
    for (let i = 0; i < halfDim; i++, at++) {
      const angle = f32(p * frequencies[i]!);
      cos[at] = Math.cos(angle);
      sin[at] = Math.sin(angle);
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
