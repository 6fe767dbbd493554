/**
 * @file The scalings of rotary frequencies that stretch a context: linear, dynamic NTK, YaRN (arXiv 2309.00071) and Llama 3.1's. Same numbers
 * as transformers' modeling_rope_utils.py, which calculates in float32 and in doubles by turns: so do we, rounding where it does.
 */

/** Every position divided by `factor`. */
export interface LinearRopeScaling {
  readonly ropeType: 'linear';
  readonly factor: number;
}

/** A larger base from `maxPositionEmbeddings` on, depending on the length of the longest sequence at hand. */
export interface DynamicRopeScaling {
  readonly ropeType: 'dynamic';
  readonly factor: number;
  readonly maxPositionEmbeddings: number;
}

/** Fast dimensions kept, slow ones stretched by `factor`, those between interpolated; cosines and sines multiplied by `attentionFactor`. */
export interface YarnRopeScaling {
  readonly ropeType: 'yarn';
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the limits between the kinds of dimensions are rounded to whole ones. */
  readonly truncate: boolean;
  readonly attentionFactor: number;
}

/** Llama 3.1's scaling: long wavelengths are stretched by `factor`, short ones kept, those between interpolated. */
export interface Llama3RopeScaling {
  readonly ropeType: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

export type RopeScaling = LinearRopeScaling | DynamicRopeScaling | YarnRopeScaling | Llama3RopeScaling;

const f32 = Math.fround;

/** Plain frequencies theta^(−2i/d), [d/2]. */
export function plainFrequencies(headDim: number, theta: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => 1 / f32(f32(theta) ** f32((2 * i) / headDim)));
}

/**
 * Frequencies with a scaling, [d/2].
 * @param length of the longest sequence at hand, which dynamic scaling alone depends on.
 * @throws RangeError for a scaling of an unknown type.
 */
export function scaledFrequencies(headDim: number, theta: number, scaling: RopeScaling, length: number): Float32Array {
  switch (scaling.ropeType) {
    case 'linear':
      return plainFrequencies(headDim, theta).map((frequency) => frequency / scaling.factor);
    case 'dynamic': {
      const { factor, maxPositionEmbeddings: context } = scaling;
      const stretched = (factor * Math.max(length, context)) / context - (factor - 1);
      return plainFrequencies(headDim, theta * stretched ** (headDim / (headDim - 2)));
    }
    case 'yarn':
      return yarnFrequencies(headDim, theta, scaling);
    case 'llama3':
      return llama3Frequencies(headDim, theta, scaling);
    default:
      throw new RangeError(
        `ropeTables: unknown ropeType '${(scaling as { ropeType: string }).ropeType}'; 'default', 'linear', 'dynamic', 'yarn' and 'llama3' are known`,
      );
  }
}

/** What cosines and sines are multiplied by. */
export const attentionFactorOf = (
  scaling: RopeScaling | { readonly ropeType: 'default' } | null | undefined,
): number => (scaling?.ropeType === 'yarn' ? scaling.attentionFactor : 1);

function yarnFrequencies(headDim: number, theta: number, scaling: YarnRopeScaling): Float32Array {
  const { factor, originalMaxPositionEmbeddings: context, betaFast, betaSlow, truncate } = scaling;
  // The dimension that turns so often in the original context.
  const dimensionOf = (turns: number) => (headDim * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  let [low, high] = [dimensionOf(betaFast), dimensionOf(betaSlow)];
  if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  if (low === high) high += 0.001;
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const power = f32(f32(theta) ** f32((2 * i) / headDim));
    const ramp = Math.min(1, Math.max(0, f32(f32(i - f32(low)) / f32(high - low))));
    const kept = f32(1 - ramp);
    return f32(f32(1 / f32(f32(factor) * power)) * f32(1 - kept)) + f32(f32(1 / power) * kept);
  });
}

function llama3Frequencies(headDim: number, theta: number, scaling: Llama3RopeScaling): Float32Array {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: context } = scaling;
  const [longest, shortest] = [context / lowFreqFactor, context / highFreqFactor];
  return plainFrequencies(headDim, theta).map((frequency) => {
    const wavelength = f32((2 * Math.PI) / frequency);
    if (wavelength < shortest) return frequency;
    if (wavelength > longest) return frequency / factor;
    const smooth = f32(f32(f32(context / wavelength) - lowFreqFactor) / (highFreqFactor - lowFreqFactor));
    return f32(f32(f32(1 - smooth) * frequency) / factor) + f32(smooth * frequency);
  });
}
