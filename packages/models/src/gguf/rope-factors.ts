/**
 * @file Llama 3.1's RoPE scaling as llama.cpp has it: not its parameters but what each frequency is divided by, in a tensor `rope_freqs.weight` [d/2]
 * (`generate_extra_tensors` of convert_hf_to_gguf.py).
 */
import type { Llama3RopeScaling } from '@spft/sparse-ops';

const wavelengths = (headDim: number, theta: number): number[] =>
  Array.from({ length: headDim / 2 }, (_, i) => 2 * Math.PI * theta ** ((2 * i) / headDim));

/** What each frequency is divided by, [d/2]. */
export function ropeFactors(headDim: number, theta: number, scaling: Llama3RopeScaling): Float32Array {
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: context } = scaling;
  return Float32Array.from(wavelengths(headDim, theta), (wavelength) => {
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/** As Llama 3.1 and 3.2 have it; files say nothing of it. */
const USUAL = { lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8192 };
const TOLERANCE = 1e-4;

/**
 * The scaling that divides frequencies so: Llama 3.1's numbers where they do, else numbers found from the factors between the ends, of which there are
 * many sets that give the same factors.
 * @returns null where the factors are none of this scaling's.
 */
export function scalingOfFactors(factors: ArrayLike<number>, headDim: number, theta: number): Llama3RopeScaling | null {
  const list = Array.from(factors);
  if (list.length !== headDim / 2 || !list.every((factor) => Number.isFinite(factor) && factor > 0)) return null;
  const factor = list.reduce((most, one) => Math.max(most, one), 0);
  for (const limits of [USUAL, ...solved(list, factor, wavelengths(headDim, theta))]) {
    const scaling = { ropeType: 'llama3' as const, factor, ...limits };
    const made = ropeFactors(headDim, theta, scaling);
    if (list.every((one, i) => Math.abs(one - made[i]!) <= TOLERANCE * made[i]!)) return scaling;
  }
  return null;
}

type Limits = Omit<Llama3RopeScaling, 'ropeType' | 'factor'>;

/** Only the ratios of the three numbers matter: scaled so that the context is a whole number. */
function limits(low: number, high: number, context: number): Limits[] {
  const whole = Math.max(1, Math.round(context));
  const by = whole / context;
  if (!(high > low && low > 0 && Number.isFinite(by * high))) return [];
  return [{ lowFreqFactor: low * by, highFreqFactor: high * by, originalMaxPositionEmbeddings: whole }];
}

/**
 * Between the ends the share of the plain frequency is linear in 1/wavelength: two of them give the line, one the context for the usual factors; with
 * none between any limits between the ends do.
 */
function solved(factors: readonly number[], factor: number, waves: readonly number[]): Limits[] {
  const between = factors
    .map((one, i) => ({ inverse: 1 / waves[i]!, share: (1 / one - 1 / factor) / (1 - 1 / factor) }))
    .filter(({ share }) => share > 1e-4 && share < 1 - 1e-4);
  const [first, last] = [between[0], between.at(-1)];
  if (first === undefined || last === undefined) {
    const end = factors.findIndex((one) => one > 1);
    const [kept, stretched] = [waves[end - 1] ?? waves[0]! / 2, waves[end] ?? waves.at(-1)! * 2];
    const context = stretched / 1.001;
    return limits(1, context / (kept * 1.001), context);
  }
  if (first === last) return limits(1, 4, (1 + 3 * first.share) / first.inverse);
  const slope = (first.share - last.share) / (first.inverse - last.inverse);
  const width = -1 / (first.share - slope * first.inverse);
  return limits(1, 1 + width, slope * width);
}
