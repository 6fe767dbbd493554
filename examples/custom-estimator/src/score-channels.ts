/**
 * @file A way of our own to say which intermediate channels of an MLP matter for a batch, in plain TypeScript: what the mean token of the
 * batch would excite, weighed with how far each channel reaches through down. No predictor is needed: one token times the real weights
 * costs a T-th of what the batch does.
 */

/** The frozen weights of one MLP, on the host. */
export interface MlpWeights {
  /** H. */
  readonly hidden: number;
  /** [I, H] row-major. */
  readonly gate: Float32Array;
  /** [I, H] row-major. */
  readonly up: Float32Array;
  /** [I] lengths of down's columns. */
  readonly reach: Float32Array;
}

/** A score for each of the I channels from the mean token [H]; the highest are kept. */
export type ScoreChannels = (mean: Float32Array, weights: MlpWeights) => Float32Array;

/** |silu(gate·x̄) · (up·x̄)| · ‖down‖ of each channel. */
export const scoreChannels: ScoreChannels = (mean, { hidden, gate, up, reach }) =>
  reach.map((length, channel) => {
    let g = 0;
    let u = 0;
    for (let h = 0; h < hidden; h++) {
      g += mean[h]! * gate[channel * hidden + h]!;
      u += mean[h]! * up[channel * hidden + h]!;
    }
    return Math.abs((g / (1 + Math.exp(-g))) * u) * length;
  });
