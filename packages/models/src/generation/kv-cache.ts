/**
 * @file Keys and values of the tokens so far, of every layer, for a batch of sequences of different lengths.
 *
 * Prompts end at the same column and are padded on their left, so that all sequences append at the same place; a mask hides the padding.
 */
import type { HeadLayout } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

interface KeysAndValues {
  /** [B·K, S, d], keys rotated already. */
  readonly keys: tf.Tensor3D;
  readonly values: tf.Tensor3D;
}

/** Owns its tensors. */
export class KeyValueCache {
  readonly #layers: (KeysAndValues | undefined)[] = [];
  /** [B·K, 1, S] 0 where there is a token, −1e30 where there is padding; null when there is no padding. */
  #mask: tf.Tensor3D | null;
  /** int32 [B·S] packed token of each place; padding repeats the sequence's first. */
  readonly #tokenOfPlace: tf.Tensor1D;
  readonly #prompt: number;

  /** @param lengths tokens of each prompt. */
  constructor(
    lengths: readonly number[],
    private readonly heads: HeadLayout,
  ) {
    const [B, S] = [lengths.length, Math.max(...lengths)];
    const tokenOfPlace = new Int32Array(B * S);
    const mask = new Float32Array(B * heads.kvHeads * S);
    let start = 0;
    lengths.forEach((length, b) => {
      const padding = S - length;
      for (let s = 0; s < S; s++) tokenOfPlace[b * S + s] = start + Math.max(0, s - padding);
      for (let k = 0; k < heads.kvHeads; k++) {
        const row = (b * heads.kvHeads + k) * S;
        mask.fill(-1e30, row, row + padding);
      }
      start += length;
    });
    this.#prompt = S;
    this.#tokenOfPlace = tf.keep(tf.tensor1d(tokenOfPlace, 'int32'));
    this.#mask = lengths.every((n) => n === S) ? null : tf.keep(tf.tensor3d(mask, [B * heads.kvHeads, 1, S]));
  }

  /** Takes the prompts' keys and values of a layer, each [T, K·d] in packed order. */
  fill(layer: number, keys: tf.Tensor2D, values: tf.Tensor2D): void {
    const { kvHeads, headDim } = this.heads;
    const place = (x: tf.Tensor2D) =>
      tf.tidy(() => {
        const padded = tf.reshape(tf.gather(x, this.#tokenOfPlace), [-1, this.#prompt, kvHeads, headDim]);
        const byHead = tf.transpose(padded, [0, 2, 1, 3]);
        return tf.keep(tf.reshape(byHead, [-1, this.#prompt, headDim]) as tf.Tensor3D);
      });
    this.#layers[layer] = { keys: place(keys), values: place(values) };
  }

  /** Makes room for one more token of every sequence: once a step, before `append`. */
  advance(): void {
    const mask = this.#mask;
    if (mask === null) return;
    this.#mask = tf.tidy(() => tf.keep(tf.concat([mask, tf.zeros([mask.shape[0], 1, 1])], 2)));
    mask.dispose();
  }

  /** Adds one token of every sequence to a layer, keys and values [B, K·d]. @returns all of the layer's, owned by the cache. */
  append(layer: number, keys: tf.Tensor2D, values: tf.Tensor2D): KeysAndValues {
    const before = this.#layers[layer]!;
    const add = (old: tf.Tensor3D, x: tf.Tensor2D) =>
      tf.tidy(() => tf.keep(tf.concat([old, tf.reshape(x, [-1, 1, this.heads.headDim]) as tf.Tensor3D], 1)));
    const after = { keys: add(before.keys, keys), values: add(before.values, values) };
    tf.dispose([before.keys, before.values]);
    this.#layers[layer] = after;
    return after;
  }

  /** Owned by the cache. */
  get mask(): tf.Tensor3D | null {
    return this.#mask;
  }

  /** Goes on with these sequences alone, given by their present rows. */
  keepRows(rows: readonly number[]): void {
    const { kvHeads } = this.heads;
    const places = rows.flatMap((row) => Array.from({ length: kvHeads }, (_, k) => row * kvHeads + k));
    const index = tf.tensor1d(places, 'int32');
    const choose = (old: tf.Tensor3D) => {
      const kept = tf.keep(tf.gather(old, index));
      old.dispose();
      return kept;
    };
    this.#layers.forEach((layer, n) => {
      this.#layers[n] = { keys: choose(layer!.keys), values: choose(layer!.values) };
    });
    if (this.#mask !== null) this.#mask = choose(this.#mask);
    index.dispose();
  }

  dispose(): void {
    tf.dispose([this.#tokenOfPlace, this.#mask, this.#layers] as tf.TensorContainer);
  }
}
