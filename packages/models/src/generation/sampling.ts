/** @file Choosing the next token from its logits, by the rules and in the order of transformers: temperature, top-k, top-p, draw. */

export interface SamplingOptions {
  /** Divides the logits; below 1 sharpens. Default 1. */
  readonly temperature?: number;
  /** Draw among the k likeliest (and those as likely as the last of them). Default: all. */
  readonly topK?: number;
  /** Draw among the fewest likeliest tokens that hold this share of the probability. Default 1: all. */
  readonly topP?: number;
}

/** @throws RangeError naming the option that is out of its range. */
export function checkSampling({ temperature = 1, topK, topP = 1 }: SamplingOptions): void {
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new RangeError(
      `generate: temperature is ${temperature}, must be above 0; for the likeliest token leave doSample out`,
    );
  }
  if (topK !== undefined && !(Number.isInteger(topK) && topK > 0)) {
    throw new RangeError(`generate: topK is ${topK}, must be a positive whole number`);
  }
  if (!(topP > 0 && topP <= 1)) throw new RangeError(`generate: topP is ${topP}, must be above 0 and at most 1`);
}

/** exp(logit / temperature − max), unnormalised; 0 for tokens outside the top k. */
function weigh(logits: Float32Array, temperature: number, topK: number): Float64Array {
  const largest = logits.reduce((most, z) => Math.max(most, z), -Infinity);
  const floor = topK < logits.length ? logits.slice().sort()[logits.length - topK]! : -Infinity;
  return Float64Array.from(logits, (z) => (z >= floor ? Math.exp((z - largest) / temperature) : 0));
}

/** Zeroes the tokens outside the nucleus (Holtzman et al. 2020, arXiv:1904.09751). */
function keepNucleus(weights: Float64Array, topP: number): void {
  const total = weights.reduce((sum, w) => sum + w, 0);
  // Tokens below this weight hold less than 1 − topP together, so the nucleus is full before it reaches them: most need no sorting.
  const negligible = ((1 - topP) * total) / weights.length;
  const order: number[] = [];
  weights.forEach((w, token) => {
    if (w >= negligible && w > 0) order.push(token);
  });
  order.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const kept = new Set<number>();
  let held = 0;
  for (const token of order) {
    if (held >= topP * total) break;
    kept.add(token);
    held += weights[token]!;
  }
  weights.forEach((_, token) => {
    if (!kept.has(token)) weights[token] = 0;
  });
}

/**
 * @param logits [V].
 * @param uniform a draw from [0, 1): equal draws give equal tokens.
 * @returns the token's id.
 */
export function sampleToken(logits: Float32Array, options: SamplingOptions, uniform: number): number {
  const { temperature = 1, topK = logits.length, topP = 1 } = options;
  const weights = weigh(logits, temperature, topK);
  if (topP < 1) keepNucleus(weights, topP);
  let left = uniform * weights.reduce((sum, w) => sum + w, 0);
  let last = 0;
  for (let token = 0; token < weights.length; token++) {
    if (weights[token] === 0) continue;
    last = token;
    left -= weights[token]!;
    if (left < 0) return token;
  }
  return last;
}
