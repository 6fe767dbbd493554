/**
 * @file Generation where the backend has a whole layer's step as a kernel (`decodeLayer`): keys and values stay where they are, tokens and positions are
 * arrays, and so a step can be recorded and done by one launch. The likeliest token is chosen on the device, where the next step finds it: the host reads what
 * was chosen while the next is under way.
 */
import { createStepRecorder, decodeLayer, type StepInputs, type StepRecorder } from '@spft/sparse-ops';
import { hasKernel } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import type { DecoderLayer } from '../decoder-layer.js';
import type { LlamaForCausalLM } from '../llama.js';
import { DecodeCache, roomFor } from './decode-cache.js';
import { DensePass, staysBeside } from './dense-pass.js';
import { choiceOf, type DecoderOptions, readPrompts, type TokenDecoder } from './token-decoder.js';

/** Tokens to come for which room is made at once; where more come it doubles. */
const FIRST_ROOM = 512;

export interface RecordedDecoderOptions extends DecoderOptions {
  readonly firstRoom?: number;
}

/** Whether the active backend generates with this model so. */
export function canRecord(model: LlamaForCausalLM): boolean {
  const { headDim, ropeScaling } = model.config;
  // Frequencies of dynamic scaling depend on the length; the kernel knows of no adapters beside weights.
  const takesModel =
    headDim <= 256 && ropeScaling?.ropeType !== 'dynamic' && ![...model.linears.values()].some(staysBeside);
  return hasKernel('SpftDecodeLayer') && takesModel;
}

/** Owns its cache, its recordings and merged weights; the model's weights stay the model's. */
export class RecordedDecoder implements TokenDecoder {
  readonly takesTensors: boolean;
  readonly #pass: DensePass;
  #recorder: StepRecorder | null = null;
  #cache: DecodeCache | null = null;
  /** Position of the next token of each row. */
  #positions: number[] = [];
  /** Tokens that a sequence will have at most. */
  #most = 0;

  constructor(
    private readonly model: LlamaForCausalLM,
    private readonly options: RecordedDecoderOptions,
  ) {
    this.#pass = new DensePass(model);
    this.takesTensors = options.greedy;
  }

  prefill(prompts: readonly (readonly number[])[]): tf.Tensor {
    const lengths = prompts.map((prompt) => prompt.length);
    const { maxNewTokens, greedy, firstRoom = FIRST_ROOM } = this.options;
    const longest = Math.max(...lengths);
    const heads = this.model.headLayout;
    const cache = new DecodeCache(lengths, heads, roomFor(longest + Math.min(maxNewTokens, firstRoom)));
    this.#forget();
    this.#cache = cache;
    this.#positions = lengths;
    this.#most = longest + maxNewTokens;
    return tf.tidy(() => {
      const reader = { model: this.model, pass: this.#pass, densePromptTokens: this.options.densePromptTokens };
      const hidden = readPrompts(reader, prompts, (layer, k, v) => cache.fill(layer, k, v));
      return choiceOf(this.#pass.logits(hidden), greedy);
    });
  }

  step(tokens: readonly number[] | tf.Tensor1D): tf.Tensor {
    const cache = this.#cache!;
    if (Math.max(...this.#positions) >= cache.room) {
      this.#endRecordings();
      cache.grow(roomFor(Math.max(cache.room + 1, Math.min(this.#most, 2 * cache.room))));
    }
    const B = this.#positions.length;
    const onDevice = tokens instanceof tf.Tensor;
    const inputs: StepInputs = {
      tokens: onDevice ? new Int32Array(B) : Int32Array.from(tokens),
      positions: Int32Array.from(this.#positions),
    };
    this.#positions = this.#positions.map((position) => position + 1);
    this.#recorder ??= createStepRecorder({ graphs: 1 });
    // Where nothing is recorded a tensor is read as any other.
    const work = (given: StepInputs) => [this.#work(given.tokens as Int32Array, given.positions as Int32Array)];
    if (!this.#recorder) {
      const read = onDevice ? (tokens.dataSync() as Int32Array) : (inputs.tokens as Int32Array);
      return work({ ...inputs, tokens: read })[0]!;
    }
    return this.#recorder.run(`step ${B}`, inputs, work, onDevice ? { tokens } : {})[0]!;
  }

  keepRows(rows: readonly number[]): void {
    this.#endRecordings();
    this.#cache!.keepRows(rows);
    this.#positions = rows.map((row) => this.#positions[row]!);
  }

  dispose(): void {
    this.#forget();
    this.#pass.dispose();
  }

  /** Recordings hold the memory that they use. */
  #endRecordings(): void {
    this.#recorder?.dispose();
    this.#recorder = null;
  }

  #forget(): void {
    this.#endRecordings();
    this.#cache?.dispose();
    this.#cache = null;
  }

  #work(tokens: Int32Array, positions: Int32Array): tf.Tensor {
    const { model } = this;
    return tf.tidy(() => {
      const { cos, sin } = model.ropeRowsOnDevice(positions, this.#cache!.room);
      const places = { positions: tf.tensor1d(positions, 'int32'), cos, sin };
      let x = model.embeddingLayers.embed(tokens);
      for (const layer of model.parts.layers) x = tf.tidy(() => this.#layer(layer, x, places));
      return choiceOf(this.#pass.logits(x), this.options.greedy);
    });
  }

  #layer(layer: DecoderLayer, x: tf.Tensor2D, places: Parameters<typeof decodeLayer>[3]): tf.Tensor2D {
    const { inputNorm, postAttentionNorm, eps } = layer;
    const { q, k, v, o, heads } = layer.attention;
    const { gate, up, down } = layer.mlp;
    const weight = (of: typeof q) => this.#pass.weightOf(of);
    const attention = { q: weight(q), k: weight(k), v: weight(v), o: weight(o) };
    const mlp = { gate: weight(gate), up: weight(up), down: weight(down) };
    const weights = { inputNorm, postAttentionNorm, eps, attention, mlp };
    return decodeLayer(x, weights, this.#cache!.of(layer.attention.layer), places, heads);
  }
}
