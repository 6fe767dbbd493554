/**
 * @file What a kernel has taken of tensors while it runs, so that a kernel that throws in its middle (no memory left, a launch that is refused)
 * leaves everything as it was: what it took and did not give back is given back for it. Kernels may run others.
 */
import type { TensorData } from '../storage.js';

export class Journal {
  /** Kernels that run, one within the other. */
  #depth = 0;
  /** In order: a tensor, and the change of its references. Of these `#count` are of now, the others are written over: to cut and grow is slow. */
  readonly #tensors: TensorData[] = [];
  readonly #changes: (1 | -1)[] = [];
  #count = 0;

  /** Says that a reference to a tensor was taken or given back. */
  note(data: TensorData, change: 1 | -1): void {
    if (this.#depth === 0) return;
    this.#tensors[this.#count] = data;
    this.#changes[this.#count++] = change;
  }

  /** A kernel begins. @returns where its part of the journal does. */
  begin(): number {
    this.#depth++;
    return this.#count;
  }

  /** It is through. What one took that ran within another is the outer one's. */
  end(from: number): void {
    if (--this.#depth === 0) this.#count = from;
  }

  /** It threw. @param release gives back one reference. */
  rollBack(from: number, release: (data: TensorData) => void): void {
    const counts = new Map<TensorData, number>();
    for (let n = from; n < this.#count; n++) {
      const data = this.#tensors[n]!;
      counts.set(data, (counts.get(data) ?? 0) + this.#changes[n]!);
    }
    const depth = this.#depth;
    // What is given back now is not noted.
    this.#depth = 0;
    try {
      for (const [data, count] of counts) for (let n = 0; n < count; n++) release(data);
    } finally {
      this.#depth = depth - 1;
      this.#count = from;
    }
  }
}
