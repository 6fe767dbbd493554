/**
 * @file Embedding and head of a causal model: frozen, adapted, or trained in full; one matrix where they are tied.
 *
 * A frozen head's logits never exist (sparse-ops `linearCrossEntropy`). Those of a head with an adapter do, a chunk of rows at a time: where
 * there are several chunks, each is computed again in the backward pass rather than kept.
 */
import type { AdapterCall, EmbeddingAdapter, EmbeddingLayers, LinearAdapter } from '@spft/peft';
import { gatherRows, linear, linearCrossEntropy, logitsCrossEntropy, noGradient } from '@spft/sparse-ops';
import { addAll, constant, gradientsOnOwnTape, recordOp, unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { deriveSeed } from './seed.js';

export const EMBEDDING = 'model.embed_tokens';
export const HEAD = 'lm_head';

/** Logits of one chunk hold at most about so many numbers: 32 MB, as in `linearCrossEntropy`. */
const CHUNK_NUMBERS = 2 ** 23;

/** Keeps the head's masks apart from those of decoder layers, which have small numbers. */
const HEAD_SEED = 0x4ead;

export interface HeadLossOptions {
  readonly call: AdapterCall;
  readonly labelSmoothing: number;
  /** Rows whose logits exist at once. */
  readonly chunkRows?: number;
}

/** Owns both matrices, not their adapters. */
export class Embeddings {
  inputAdapter: EmbeddingAdapter | null = null;
  outputAdapter: LinearAdapter | null = null;
  readonly layers: EmbeddingLayers;
  #input: tf.Tensor2D;
  #output: tf.Tensor2D;
  /** Whether they were one matrix at the beginning. */
  readonly #wereTied: boolean;
  /** [H], the mean of the head's rows, once label smoothing has asked for it. */
  #meanHead: tf.Tensor1D | null = null;

  /**
   * @param input [V, H]; ownership passes here.
   * @param output [V, H], likewise, or the same tensor.
   */
  constructor(input: tf.Tensor2D, output: tf.Tensor2D) {
    this.#input = input;
    this.#output = output;
    this.#wereTied = input === output;
    const self = this;
    this.layers = {
      input: {
        name: EMBEDDING,
        vocabSize: input.shape[0],
        hiddenSize: input.shape[1],
        get weight() {
          return self.#input;
        },
      },
      output: {
        name: HEAD,
        inFeatures: output.shape[1],
        outFeatures: output.shape[0],
        bias: null,
        get weight() {
          return self.#output;
        },
      },
      get tied() {
        return self.tied;
      },
    };
  }

  get tied(): boolean {
    return this.#input === this.#output;
  }

  /** [V, H], owned here. */
  get inputWeight(): tf.Tensor2D {
    return this.#input;
  }

  /** [V, H], owned here. */
  get outputWeight(): tf.Tensor2D {
    return this.#output;
  }

  get isAdapted(): boolean {
    return this.inputAdapter !== null || this.outputAdapter !== null;
  }

  /** Trainable variables of the embedding's adapter by name, e.g. `model.embed_tokens.lora_embedding_A`. */
  get inputVariables(): [string, tf.Variable][] {
    return variablesOf(EMBEDDING, this.inputAdapter);
  }

  get outputVariables(): [string, tf.Variable][] {
    return variablesOf(HEAD, this.outputAdapter);
  }

  /** Takes ownership of `weight`; disposes what it replaces unless the other module still is that. @throws RangeError */
  replace(name: typeof EMBEDDING | typeof HEAD, weight: tf.Tensor2D): void {
    const old = name === EMBEDDING ? this.#input : this.#output;
    if (`${weight.shape}` !== `${old.shape}`) {
      throw new RangeError(`replaceWeight: ${name} has a weight [${old.shape}], got [${weight.shape}]`);
    }
    this.#forgetMean();
    if (name === EMBEDDING) this.#input = weight;
    else this.#output = weight;
    if (old !== this.#input && old !== this.#output) old.dispose();
    // What was one matrix and has the same memory again is one: an adapter was taken out.
    if (this.#wereTied && !this.tied && this.#input.dataId === this.#output.dataId) {
      this.#output.dispose();
      this.#output = this.#input;
    }
  }

  /** Rows [ids.length, H], owned by the caller; a constant in every gradient where no adapter is on the embedding. */
  embed(ids: Int32Array): tf.Tensor2D {
    const frozen = () =>
      noGradient(() => tf.tidy(() => gatherRows(this.#input, tf.tensor1d(ids, 'int32')))) as tf.Tensor2D;
    const { inputAdapter } = this;
    return inputAdapter === null ? frozen() : tf.tidy(() => inputAdapter.forward(ids, () => constant(frozen())));
  }

  /** @param normed [R, H]. @returns [R, V], owned by the caller. */
  logits(normed: tf.Tensor2D, call: AdapterCall): tf.Tensor2D {
    const { outputAdapter } = this;
    if (outputAdapter === null) return linear(normed, this.#output);
    if (outputAdapter.output) return outputAdapter.output(normed);
    return tf.tidy(() => outputAdapter.forward(normed, linear(normed, this.#output), call));
  }

  /**
   * Σᵣ cross-entropy of the rows' logits.
   * @param normed [R, H].
   * @param labels [R].
   * @returns a scalar, owned by the caller; differentiable in `normed` and in the head's adapter.
   */
  loss(normed: tf.Tensor2D, labels: Int32Array, { call, labelSmoothing, chunkRows }: HeadLossOptions): tf.Scalar {
    return tf.tidy(() => {
      if (this.outputAdapter !== null) return this.#adaptedLoss(normed, labels, { call, labelSmoothing, chunkRows });
      const sum = linearCrossEntropy(normed, this.#output, tf.tensor1d(labels, 'int32'));
      return labelSmoothing > 0 ? tf.add(sum, this.#smoothing(normed, labels, labelSmoothing)) : sum;
    });
  }

  dispose(): void {
    tf.dispose([this.#input, this.#output]);
    this.#forgetMean();
  }

  #adaptedLoss(normed: tf.Tensor2D, labels: Int32Array, options: HeadLossOptions): tf.Scalar {
    const R = labels.length;
    const { labelSmoothing, chunkRows = Math.max(16, Math.floor(CHUNK_NUMBERS / this.#output.shape[0])) } = options;
    const chunk = (x: tf.Tensor2D, wanted: tf.Tensor1D, index: number) =>
      tf.tidy(() => {
        const call = { training: options.call.training, seed: deriveSeed(options.call.seed, HEAD_SEED, index) };
        return logitsCrossEntropy(this.logits(x, call), wanted, { labelSmoothing });
      });
    const wanted = tf.tensor1d(labels, 'int32');
    if (R <= chunkRows) return chunk(normed, wanted, 0);
    const variables = [...this.outputAdapter!.variables.values()];
    const named = Object.fromEntries(variables.map((variable, n) => [`variable${n}`, variable]));
    const [loss] = recordOp<[tf.Scalar]>({
      name: 'AdaptedHeadLoss',
      inputs: { x: normed, ...named },
      saves: [normed, wanted],
      run: () => ({
        outputs: [tf.tidy(() => addAll(chunksOf(normed, wanted, chunkRows).map((c) => chunk(...c))) as tf.Scalar)],
        kept: [],
      }),
      gradient: ([dy], [x, wanted]) =>
        tf.tidy(() => {
          const dx: tf.Tensor2D[] = [];
          const sums: tf.Tensor[] = [];
          for (const [rows, labels, index] of chunksOf(x as tf.Tensor2D, wanted as tf.Tensor1D, chunkRows)) {
            const own = () => gradientsOnOwnTape(() => chunk(rows, labels, index), [rows, ...variables], dy!);
            const [ofRows, ...others] = tf.tidy(() => own().map((g, n) => g ?? tf.zerosLike([rows, ...variables][n]!)));
            dx.push(ofRows as tf.Tensor2D);
            // One sum a variable, and not a gradient a chunk: a head's is as large as the head.
            others.forEach((gradient, n) => {
              const before = sums[n];
              sums[n] = before ? tf.add(before, gradient) : gradient;
              if (before) tf.dispose([before, gradient]);
            });
          }
          return { x: tf.concat(dx), ...Object.fromEntries(Object.keys(named).map((name, n) => [name, sums[n]!])) };
        }),
    });
    return loss;
  }

  /**
   * What label smoothing adds to the cross-entropy: the smoothed loss (1 − ε)·(lse − z_y) + ε·(lse − mean z) is that of the label plus
   * ε·(z_y − mean z), and logits are linear in the hidden state, so that of the whole vocabulary only the mean row of the head is needed.
   */
  #smoothing(normed: tf.Tensor2D, labels: Int32Array, epsilon: number): tf.Scalar {
    const head = this.#output;
    const rows = noGradient(() => {
      this.#meanHead ??= tf.keep(tf.tidy(() => tf.mean(unpacked(head), 0) as tf.Tensor1D));
      return tf.mul(tf.sub(gatherRows(head, tf.tensor1d(labels, 'int32')), this.#meanHead), epsilon);
    });
    return tf.sum(tf.mul(normed, constant(rows)));
  }

  #forgetMean(): void {
    this.#meanHead?.dispose();
    this.#meanHead = null;
  }
}

/** Rows and labels of each chunk, with its number. */
function chunksOf(x: tf.Tensor2D, labels: tf.Tensor1D, chunkRows: number): [tf.Tensor2D, tf.Tensor1D, number][] {
  return Array.from({ length: Math.ceil(labels.size / chunkRows) }, (_, index) => {
    const row = index * chunkRows;
    const rows = Math.min(chunkRows, labels.size - row);
    return [tf.slice(x, [row, 0], [rows, -1]), tf.slice(labels, [row], [rows]), index];
  });
}

function variablesOf(
  module: string,
  adapter: { readonly variables: ReadonlyMap<string, tf.Variable> } | null,
): [string, tf.Variable][] {
  return [...(adapter?.variables ?? [])].map(([suffix, variable]) => [`${module}.${suffix}`, variable]);
}
