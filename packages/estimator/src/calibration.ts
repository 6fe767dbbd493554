/**
 * @file What a few batches of the user's own data put through a model: inputs of each block, and how large its channels become. Predictors
 * are fitted to that (calibrated-predictor.ts), where the original's know the weights alone.
 *
 * Recorded by an estimator that keeps every channel, so that any `SparsityHost` can be calibrated, by a forward pass without gradient.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import type { PredictedLayers } from './predictors.js';
import type { SparsityEstimator, SparsityHost } from './types.js';

/** Data to calibrate on. */
export interface CalibrationData {
  /** How often `forward` is called. */
  readonly steps: number;
  /** Runs the model over a batch, without gradient and without adapters that have learnt something; tensors are the callee's to dispose. */
  forward(step: number): void | Promise<void>;
  /** Tells these data from others, e.g. a hash; kept with the predictors. */
  readonly data?: string;
}

export interface CalibrationOptions {
  /** Also record how large channels become (`static`). */
  readonly norms?: boolean;
  /** Most rows that are kept of a block's input. Default 2048, with which predictors do not differ from those of more by what can be measured. */
  readonly rows?: number;
  /** Called before the first step and after each. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Owns its tensors. */
export interface Calibration {
  /** Sparse tokens that were seen. */
  readonly tokens: number;
  readonly data: string | null;
  /** [n, H] inputs after the norm, by block: `model.layers.3.mlp`, `model.layers.3.self_attn`. */
  readonly inputs: ReadonlyMap<string, tf.Tensor2D>;
  /** Root mean square of each channel: [I] by `model.layers.3.mlp`, [N·d] or [K·d] by `model.layers.3.self_attn.q_proj`, …; empty unless asked for. */
  readonly norms: ReadonlyMap<string, tf.Tensor1D>;
  dispose(): void;
}

/**
 * Runs the data through the model; takes off whatever plan is on it. Only tokens that the batches' layouts make sparse are looked at, as they
 * alone will be computed with the channels that are chosen.
 * @param layers whose blocks are recorded.
 * @throws PredictorError when the data have no sparse token.
 */
export async function calibrate(
  host: SparsityHost,
  layers: PredictedLayers,
  { steps, forward, data }: CalibrationData,
  options: CalibrationOptions = {},
): Promise<Calibration> {
  assertKnownOptions('calibrate', options, { norms: true, rows: true, onProgress: true });
  const { norms = false, rows: limit = 2048, onProgress } = options;
  const perStep = Math.max(1, Math.ceil(limit / Math.max(1, steps)));
  const inputs = new Map<string, tf.Tensor2D[]>();
  const squares = new Map<string, tf.Tensor1D>();
  let tokens = 0;
  const sparse = <T extends tf.Tensor>(x: T, dense: number): T =>
    tf.slice(x, [dense, 0], [x.shape[0]! - dense, x.shape[1]!]) as T;
  const record = (name: string, x: tf.Tensor2D, dense: number) => {
    const count = x.shape[0] - dense;
    if (count === 0) return;
    const taken = Math.min(count, perStep);
    const rows = Int32Array.from({ length: taken }, (_, i) => dense + Math.floor((i * count) / taken));
    const kept = tf.keep(tf.tidy(() => tf.gather(x, tf.tensor1d(rows, 'int32')) as tf.Tensor2D));
    inputs.set(name, [...(inputs.get(name) ?? []), kept]);
  };
  const addSquares = (name: string, x: tf.Tensor2D | undefined, dense: number) => {
    if (x === undefined || x.shape[0] === dense) return;
    const before = squares.get(name);
    const sum = tf.tidy(() => {
      const added = tf.sum(tf.square(sparse(x, dense)), 0) as tf.Tensor1D;
      return before ? (tf.add(before, added) as tf.Tensor1D) : added;
    });
    before?.dispose();
    squares.set(name, tf.keep(sum));
  };
  let first: string | null = null;
  const recorder: SparsityEstimator = {
    mode: 'calibration',
    needs: norms ? 'activations' : 'input',
    applies: norms ? 'mask' : 'gather',
    selectMlp({ layer, input, layout, activations }) {
      const name = `model.layers.${layer}.mlp`;
      first ??= name;
      if (first === name) tokens += layout.tokens - layout.denseTokens;
      record(name, input, layout.denseTokens);
      addSquares(name, activations, layout.denseTokens);
      return null;
    },
    selectAttention({ layer, input, layout, q, k, v }) {
      const name = `model.layers.${layer}.self_attn`;
      first ??= name;
      if (first === name) tokens += layout.tokens - layout.denseTokens;
      record(name, input, layout.denseTokens);
      for (const [part, x] of [
        ['q', q],
        ['k', k],
        ['v', v],
      ] as const) {
        addSquares(`${name}.${part}_proj`, x, layout.denseTokens);
      }
      return { q: null, k: null, v: null, o: null };
    },
    dispose() {},
  };
  // Any sparsity between 0 and 1: what counts is that the block asks.
  const asked = new Map(
    [...layers].map(([layer, { mlp, selfAttn }]) => [layer, { mlp: mlp ? 0.5 : 0, selfAttn: selfAttn ? 0.5 : 0 }]),
  );
  host.setSparsity({ estimator: recorder, layers: asked, compat: 'corrected', enabled: true, listener: null });
  try {
    for (let step = 0; step < steps; step++) {
      onProgress?.(step, steps);
      await forward(step);
    }
    onProgress?.(steps, steps);
    if (tokens === 0) {
      throw new PredictorError(
        'calibration: the data have no token that would be sparse; give rows with a prompt, or make fewer tokens dense (skip_… keys)',
      );
    }
    const joined = new Map([...inputs].map(([name, parts]) => [name, tf.keep(tf.tidy(() => tf.concat(parts, 0)))]));
    const roots = new Map([...squares].map(([name, sum]) => [name, tf.tidy(() => tf.sqrt(tf.div(sum, tokens)))]));
    for (const root of roots.values()) tf.keep(root);
    return {
      tokens,
      data: data ?? null,
      inputs: joined,
      norms: roots as Map<string, tf.Tensor1D>,
      dispose: () => tf.dispose([...joined.values(), ...roots.values()]),
    };
  } finally {
    host.setSparsity(null);
    tf.dispose([...inputs.values()].flat());
    tf.dispose([...squares.values()]);
  }
}
