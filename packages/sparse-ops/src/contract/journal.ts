/**
 * @file What a kernel has taken of its backend's memory while it runs, so that a kernel that throws (no memory left, say) leaves nothing behind.
 *
 * Every tfjs backend counts references to its tensors: `write` makes a tensor of one, `incRef` adds one, `disposeData` takes one back. These three
 * are listened to on the backend itself, from its first kernel on; what a kernel took and did not give back is given back for it. Between kernels
 * and after one that succeeded nothing is remembered.
 */
import type * as tf from '@tensorflow/tfjs';

/** The part of a backend that is listened to. */
interface Counting {
  write(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType): object;
  incRef(dataId: object): void;
  disposeData(dataId: object, force?: boolean): boolean;
}

class Journal {
  /** Kernels that run, one within the other. */
  #depth = 0;
  /** In order: a tensor, and the change of its references. Of these `#count` are of now, the others are written over: to cut and grow is slow. */
  readonly #tensors: object[] = [];
  readonly #changes: number[] = [];
  #count = 0;

  constructor(private readonly backend: Counting) {
    const { write, incRef, disposeData } = backend;
    backend.write = (...args) => {
      const dataId = write.apply(backend, args);
      this.#note(dataId, 1);
      return dataId;
    };
    backend.incRef = (dataId) => {
      incRef.call(backend, dataId);
      this.#note(dataId, 1);
    };
    backend.disposeData = (dataId, force) => {
      this.#note(dataId, -1);
      return disposeData.call(backend, dataId, force);
    };
  }

  #note(dataId: object, change: number): void {
    if (this.#depth === 0) return;
    this.#tensors[this.#count] = dataId;
    this.#changes[this.#count++] = change;
  }

  /** Runs a kernel; what it has taken by then is given back where it throws. */
  guard(kernelFunc: tf.KernelFunc, params: Parameters<tf.KernelFunc>[0]): ReturnType<tf.KernelFunc> {
    const from = this.#count;
    this.#depth++;
    let failed = true;
    try {
      const result = kernelFunc(params);
      failed = false;
      return result;
    } finally {
      this.#depth--;
      if (failed) this.#giveBack(from);
      // What a kernel within another took is the outer one's until that is through.
      if (failed || this.#depth === 0) this.#count = from;
    }
  }

  #giveBack(from: number): void {
    const depth = this.#depth;
    // Not noted: it ends what was.
    this.#depth = 0;
    try {
      const counts = new Map<object, number>();
      for (let n = from; n < this.#count; n++) {
        const tensor = this.#tensors[n]!;
        counts.set(tensor, (counts.get(tensor) ?? 0) + this.#changes[n]!);
      }
      for (const [tensor, count] of counts) {
        for (let n = 0; n < count; n++) this.backend.disposeData(tensor);
      }
    } finally {
      this.#depth = depth;
    }
  }
}

const journals = new WeakMap<object, Journal>();

/** A kernel that gives back what it took of its backend's memory where it throws. */
export function guarded(kernelFunc: tf.KernelFunc): tf.KernelFunc {
  return (params) => {
    const backend = params.backend as object;
    let journal = journals.get(backend);
    if (!journal) {
      journal = new Journal(backend as Counting);
      journals.set(backend, journal);
    }
    return journal.guard(kernelFunc, params);
  };
}
