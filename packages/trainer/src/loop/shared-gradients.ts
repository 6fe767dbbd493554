/**
 * @file Gradients summed over ranks in few buckets, the last layers' first: a bucket is on its way as soon as the backward pass of the step's last
 * micro-batch has given all of its gradients, while the layers below are still computed (as PyTorch's DistributedDataParallel).
 */
import { withGradientListener } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { GradientSum, type LossAndGradients } from './gradients.js';
import type { PendingSum, Ranks } from './ranks.js';

/** Bytes of a bucket, but for the first, which should be on its way soon (PyTorch's sizes). */
const BUCKET_BYTES = 25 * 2 ** 20;
const FIRST_BYTES = 2 ** 20;

interface Bucket {
  /** Places among the variables. */
  readonly variables: readonly number[];
}

/** Buckets of variables, from the last one on. */
export function bucketsOf(sizes: readonly number[], first = FIRST_BYTES, bytes = BUCKET_BYTES): Bucket[] {
  const buckets: number[][] = [];
  let room = 0;
  for (let n = sizes.length - 1; n >= 0; n--) {
    if (room <= 0) {
      buckets.push([]);
      room = buckets.length === 1 ? first : bytes;
    }
    buckets.at(-1)!.push(n);
    room -= 4 * sizes[n]!;
  }
  return buckets.map((variables) => ({ variables }));
}

/** The gradients of one step on their way: made anew for each. */
export class SharedGradients {
  readonly #variables: readonly tf.Variable[];
  readonly #ranks: Ranks;
  readonly #buckets: readonly Bucket[];
  readonly #places: ReadonlyMap<number, number>;
  /** Of this rank, as far as they are final. */
  readonly #ready: (tf.Tensor | null)[];
  /** Whether a variable's gradient has come. */
  readonly #taken: boolean[];
  #pending: PendingSum[] = [];

  constructor(variables: readonly tf.Variable[], ranks: Ranks, buckets = bucketsOf(variables.map(({ size }) => size))) {
    this.#variables = variables;
    this.#ranks = ranks;
    this.#buckets = buckets;
    this.#places = new Map(variables.map(({ id }, place) => [id, place]));
    this.#ready = variables.map(() => null);
    this.#taken = variables.map(() => false);
  }

  /**
   * The last micro-batch of this rank: its gradients go out as they come.
   * @param before what the others of this rank have summed up to, or null.
   * @param take computes the loss and its gradients; they are taken over.
   * @returns the loss, owned by the caller.
   */
  last(before: GradientSum | null, take: () => LossAndGradients): tf.Scalar {
    const earlier = before?.tensors ?? [];
    const add = (place: number, gradient: tf.Tensor) => {
      if (this.#taken[place]) return;
      this.#taken[place] = true;
      const sum = earlier.length > 0 ? tf.add(earlier[place]!, gradient) : tf.clone(gradient);
      this.#ready[place] = tf.keep(sum);
    };
    const { loss, gradients } = withGradientListener((variable, gradient) => {
      const place = this.#places.get(variable.id);
      if (place === undefined) return;
      add(place, gradient);
      this.#send(false);
    }, take);
    try {
      tf.tidy(() => {
        gradients.forEach((gradient, place) => {
          add(place, gradient);
        });
      });
      this.#send(false);
      return loss;
    } catch (error) {
      loss.dispose();
      throw error;
    } finally {
      tf.dispose([...gradients]);
    }
  }

  /** The sums over ranks, in the order of the variables; zeros of a rank that had no micro-batch. */
  async sums(): Promise<GradientSum> {
    this.#send(true);
    const all: (readonly tf.Tensor[])[] = [];
    // One after the other, so that whatever fails gives back what came before.
    try {
      for (const pending of this.#pending) all.push(await pending.done());
    } catch (error) {
      tf.dispose(all.flat());
      throw error;
    }
    return this.#inOrder(all);
  }

  /** The same where the device waits for itself. */
  sumsNow(): GradientSum {
    this.#send(true);
    return this.#inOrder(this.#pending.map((pending) => pending.wait()));
  }

  /** Gives back what was not sent. */
  dispose(): void {
    tf.dispose(this.#ready.filter((tensor) => tensor !== null));
    this.#ready.fill(null);
  }

  #inOrder(sums: readonly (readonly tf.Tensor[])[]): GradientSum {
    const ordered: tf.Tensor[] = [];
    this.#buckets.forEach(({ variables }, b) => {
      variables.forEach((place, n) => {
        ordered[place] = sums[b]![n]!;
      });
    });
    const sum = new GradientSum();
    sum.add(ordered);
    return sum;
  }

  /** In their order, as on every rank. @param all whether those that are not complete go too, with zeros. */
  #send(all: boolean): void {
    while (this.#pending.length < this.#buckets.length) {
      const { variables } = this.#buckets[this.#pending.length]!;
      if (!all && variables.some((place) => this.#ready[place] === null)) return;
      const tensors = variables.map(
        (place) => this.#ready[place] ?? tf.keep(tf.zeros(this.#variables[place]!.shape, 'float32')),
      );
      for (const place of variables) this.#ready[place] = null;
      this.#pending.push(this.#ranks.tensors.allReduce(tensors));
    }
  }
}
