/**
 * @file Keys and values with room for tokens to come: a step writes its own where they stay, so that nothing moves from step to step. Each sequence
 * begins at the first place; what lies behind its last token is not looked at.
 */
import { gatherRows, type HeadLayout, type KeysAndValues } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

/** Tokens by which room is made. */
const UNIT = 64;

/** Room for so many tokens. */
export const roomFor = (tokens: number): number => UNIT * Math.ceil(tokens / UNIT);

type Three = tf.Variable<tf.Rank.R3>;

/** Owns its variables. */
export class DecodeCache {
  readonly #layers: KeysAndValues[] = [];
  readonly #width: number;
  #room: number;
  #sequences: number;

  /** @param lengths tokens of each prompt. @param room tokens that each sequence can have. */
  constructor(
    private readonly lengths: readonly number[],
    { kvHeads, headDim }: HeadLayout,
    room: number,
  ) {
    this.#width = kvHeads * headDim;
    this.#room = room;
    this.#sequences = lengths.length;
  }

  get room(): number {
    return this.#room;
  }

  /** Of a layer; owned by the cache. */
  of(layer: number): KeysAndValues {
    return this.#layers[layer]!;
  }

  /** Takes the prompts' keys and values of a layer, each [T, K·d] in packed order. */
  fill(layer: number, keys: tf.Tensor2D, values: tf.Tensor2D): void {
    const rows = new Int32Array(this.lengths.length * this.#room).fill(-1);
    let start = 0;
    this.lengths.forEach((length, b) => {
      for (let t = 0; t < length; t++) rows[b * this.#room + t] = start + t;
      start += length;
    });
    const made = this.#taken([keys, values], rows);
    this.#layers[layer] = { keys: made[0]!, values: made[1]! };
  }

  /** Makes more room. */
  grow(room: number): void {
    const before = this.#room;
    const rows = Int32Array.from({ length: this.#sequences * room }, (_, n) => {
      const [b, t] = [Math.floor(n / room), n % room];
      return t < before ? b * before + t : -1;
    });
    this.#room = room;
    this.#renew([this.#sequences * before, this.#width], rows);
  }

  /** Goes on with these sequences alone, given by their present rows. */
  keepRows(kept: readonly number[]): void {
    const [before, room] = [this.#sequences, this.#room];
    this.#sequences = kept.length;
    this.#renew([before, room * this.#width], Int32Array.from(kept));
  }

  dispose(): void {
    tf.dispose(this.#layers as unknown as tf.TensorContainer);
    this.#layers.length = 0;
  }

  /** Takes rows of what was there, seen as matrices of this shape. */
  #renew(shape: [number, number], rows: Int32Array): void {
    this.#layers.forEach(({ keys, values }, layer) => {
      const matrices = tf.tidy(() =>
        this.#taken(
          [keys, values].map((of) => tf.reshape(of, shape) as tf.Tensor2D),
          rows,
        ),
      );
      tf.dispose([keys, values]);
      this.#layers[layer] = { keys: matrices[0]!, values: matrices[1]! };
    });
  }

  /** Rows of matrices, −1 for none, as keys and values. */
  #taken(matrices: readonly tf.Tensor2D[], rows: Int32Array): Three[] {
    return matrices.map((matrix) =>
      tf.tidy(() => {
        const taken = gatherRows(matrix, tf.tensor1d(rows, 'int32'));
        const shaped = tf.reshape(taken, [this.#sequences, this.#room, this.#width]);
        return tf.variable(shaped, false) as Three;
      }),
    );
  }
}
