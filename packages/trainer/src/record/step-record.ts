/**
 * @file Losses and gradient norms since the last look. They stay on the device until they are logged (or always, where reading is free),
 * and are then read in one go and checked: NaN and infinity never pass unnoticed into a log line or a checkpoint.
 */
import * as tf from '@tensorflow/tfjs';
import { NonFiniteError } from '../errors.js';
import { gatherJson, type Ranks } from '../loop/ranks.js';

interface Unread {
  readonly what: 'loss' | 'gradient norm';
  readonly value: tf.Scalar;
  readonly step: number;
  /** Micro-batch of the step, over all ranks. */
  readonly batch: number;
  readonly samples: readonly number[];
}

/** One that was read, on this rank or another. */
type Read = Omit<Unread, 'value'> & { readonly value: number };

export class StepRecord {
  #unread: Unread[] = [];
  /** Loss of each step since the last log line: micro-batches summed in double precision, in order. */
  #losses: number[] = [];
  #lossOfStep = new Map<number, number>();
  #gradientNorm: number | null = null;
  /** Also after a log line has covered it. */
  #lastLoss: number | null = null;
  readonly #ranks: Ranks | null;

  /** @param ranks whose losses are of the same steps; all of them read at the same time. */
  constructor(ranks: Ranks | null = null) {
    this.#ranks = ranks;
  }

  /** Takes ownership of the scalar. @param batch the number of the micro-batch in its step. */
  addLoss(value: tf.Scalar, step: number, batch: number, samples: readonly number[]): void {
    this.#unread.push({ what: 'loss', value, step, batch, samples });
  }

  /** Takes ownership of the scalar. */
  addGradientNorm(value: tf.Scalar, step: number, samples: readonly number[]): void {
    this.#unread.push({ what: 'gradient norm', value, step, batch: Number.POSITIVE_INFINITY, samples });
  }

  /** Forgets a step that was given up before it was complete, so that nothing of it is read. */
  drop(step: number): void {
    tf.dispose(this.#unread.filter((entry) => entry.step === step).map((entry) => entry.value));
    this.#unread = this.#unread.filter((entry) => entry.step !== step);
  }

  /**
   * Reads what has not been read, in one transfer.
   * @throws NonFiniteError naming the first that is not finite.
   */
  async read(lastCheckpoint: string | null): Promise<void> {
    if (this.#unread.length === 0) return;
    const unread = this.#unread;
    this.#unread = [];
    const stacked = tf.tidy(() => tf.stack(unread.map((entry) => entry.value)));
    tf.dispose(unread.map((entry) => entry.value));
    const values = await stacked.data();
    stacked.dispose();
    const own = unread.map((entry, n): Read => ({ ...entry, value: values[n]! }));
    for (const { what, value, step, samples } of await this.#ofAllRanks(own)) {
      if (!Number.isFinite(value)) throw new NonFiniteError({ what, value, step, samples, lastCheckpoint });
      if (what === 'gradient norm') this.#gradientNorm = value;
      else this.#lossOfStep.set(step, (this.#lossOfStep.get(step) ?? 0) + value);
    }
  }

  /** Step by step, the losses of micro-batches in the order in which one process would have had them, then the norm, which all ranks have alike. */
  async #ofAllRanks(own: readonly Read[]): Promise<readonly Read[]> {
    if (this.#ranks === null) return own;
    const losses = own.filter(({ what }) => what === 'loss');
    const norms = own.filter(({ what }) => what !== 'loss');
    // JSON has no word for NaN.
    const all = await gatherJson(
      this.#ranks,
      losses.map((loss) => ({ ...loss, value: String(loss.value) })),
    );
    return [...all.flat().map((loss): Read => ({ ...loss, value: Number(loss.value) })), ...norms].sort(
      (a, b) => a.step - b.step || a.batch - b.batch,
    );
  }

  /** Closes the steps read so far: their losses count for the next log line. Call at the end of a step, after `read`. */
  close(): void {
    this.#losses.push(...this.#lossOfStep.values());
    this.#lossOfStep.clear();
    this.#lastLoss = this.#losses.at(-1) ?? this.#lastLoss;
  }

  /** Losses that no log line has covered yet; part of a checkpoint. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  /** The loss of the last step that was read; null before any was. */
  get lastLoss(): number | null {
    return this.#lastLoss;
  }

  get gradientNorm(): number | null {
    return this.#gradientNorm;
  }

  /** Continues with the losses of a checkpoint. */
  restore(losses: readonly number[]): void {
    this.#losses = [...losses];
    this.#lastLoss = losses.at(-1) ?? null;
  }

  /** Losses for a log line; they are forgotten here. */
  take(): number[] {
    const losses = this.#losses;
    this.#losses = [];
    return losses;
  }

  dispose(): void {
    tf.dispose(this.#unread.map((entry) => entry.value));
    this.#unread = [];
  }
}
