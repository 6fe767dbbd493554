/**
 * @file Which input channels of a layer in FP8 are multiplied in twice as many bits (`outlierChannels`). The backend chooses them by the first rows that it
 * computes; they are those of ids spread over the vocabulary, so that a model has the same ones in every run, on every rank, and when a run is continued. In
 * a real model those choose as well as text does (docs/RESULTS.md).
 */
import { packTokens } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { LlamaConfig } from './llama-config.js';
import { formOfPrecision, type LoadOptions, outliersFor } from './load-options.js';
import type { ForwardOptions, PackedBatch } from './types.js';

interface Model {
  readonly config: LlamaConfig;
  normedRows(batch: PackedBatch, rows: Int32Array, options: ForwardOptions): tf.Tensor2D;
  dispose(): void;
}

const SEQUENCES = 4;
const LENGTH = 64;

/** The model, in which they were chosen where the options ask for them, by one pass without the head. One that fails in this is given back. */
export function withOutliersChosen<M extends Model>(model: M, options: LoadOptions): M {
  const wanted = formOfPrecision(options) === 'fp8' ? outliersFor(options) : 0;
  // Layers of fewer inputs have none.
  if (wanted === 0 || 2 * wanted > model.config.hiddenSize) return model;
  try {
    pass(model);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function pass(model: Model): void {
  const { vocabSize } = model.config;
  const tokens = SEQUENCES * LENGTH;
  const inputIds = Int32Array.from({ length: tokens }, (_, n) => Math.floor(((n + 0.5) * vocabSize) / tokens));
  const layout = packTokens({ lengths: new Array(SEQUENCES).fill(LENGTH), dense: () => true });
  const rows = Int32Array.from({ length: tokens }, (_, row) => row);
  model.normedRows({ inputIds, labels: inputIds, layout }, rows, { training: false, seed: 0 }).dispose();
}
