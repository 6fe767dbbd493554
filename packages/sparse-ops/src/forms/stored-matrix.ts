/**
 * @file A frozen matrix that is held in less room than plain numbers take, on backends that have no such form of their own: as a tensor like any other, whose
 * values are what it stands for.
 *
 * Its data belong to a store of ours, which tfjs takes for a backend. To read the tensor unpacks it on the host. Ops that multiply by frozen weights ask
 * `storedMatrixOf` and let the form do it. A kernel that knows nothing of forms gets the tensor moved to its backend, plain from then on, as tfjs moves tensors
 * between backends: so nothing is ever wrong, only larger, and what is to stay small is given to such kernels by `unpacked`.
 */
import * as tf from '@tensorflow/tfjs';
import { noGradient } from '../engine/tape.js';
import { correctBytes } from '../engine/tfjs-internals.js';

/** What a form says of one matrix [out, in]. None of its methods has a gradient; results belong to the caller. */
export interface StoredMatrix {
  readonly shape: readonly [out: number, inputs: number];
  /** [out, in]. */
  unpack(): tf.Tensor2D;
  /** [kept, in]. @param indices int32 [kept]. */
  rows(indices: tf.Tensor1D): tf.Tensor2D;
  /** [out, kept]. @param indices int32 [kept], ascending. */
  columns(indices: tf.Tensor1D): tf.Tensor2D;
  /** x·Wᵀ + b [T, out]. */
  times(x: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D;
  /** dy·W [T, in]. */
  timesTransposed(dy: tf.Tensor2D): tf.Tensor2D;
  /** All numbers, on the host. */
  values(): Float32Array;
  dispose(): void;
}

interface Entry {
  readonly matrix: StoredMatrix;
  references: number;
}

/** What tfjs takes its tensor for; the tensors that it really consists of are counted by themselves. */
const bytesOf = ({ shape: [out, inputs] }: StoredMatrix): number => 4 * out * inputs;

/** Tensors whose data are not numbers. */
class MatrixStore extends tf.KernelBackend {
  readonly #entries = new Map<tf.DataId, Entry>();

  add(matrix: StoredMatrix): tf.DataId {
    const dataId = {};
    this.#entries.set(dataId, { matrix, references: 1 });
    correctBytes(-bytesOf(matrix));
    return dataId;
  }

  get(dataId: tf.DataId): StoredMatrix | null {
    return this.#entries.get(dataId)?.matrix ?? null;
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    return this.#entries.get(dataId)!.matrix.values();
  }

  override async read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return this.readSync(dataId);
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const entry = this.#entries.get(dataId);
    if (!entry) return true;
    // Moved to another backend all references are to plain numbers, which are counted rightly.
    correctBytes(bytesOf(entry.matrix) * (force ? entry.references : 1));
    entry.references--;
    if (entry.references > 0 && !force) return false;
    this.#entries.delete(dataId);
    entry.matrix.dispose();
    return true;
  }

  override refCount(dataId: tf.DataId): number {
    return this.#entries.get(dataId)?.references ?? 0;
  }

  override incRef(dataId: tf.DataId): void {
    const entry = this.#entries.get(dataId)!;
    entry.references++;
    correctBytes(-bytesOf(entry.matrix));
  }

  override numDataIds(): number {
    return this.#entries.size;
  }
}

const store = new MatrixStore();

/** A tensor of a matrix, which it takes over. @returns owned by the caller. */
export function storedMatrixTensor(matrix: StoredMatrix): tf.Tensor2D {
  const info: tf.TensorInfo = { dataId: store.add(matrix), shape: [...matrix.shape], dtype: 'float32' };
  return tf.engine().makeTensorFromTensorInfo(info, store) as tf.Tensor2D;
}

/** The matrix of a tensor that lies in the store; null for all others, plain ones as well as those that a backend has in a form of its own. */
export const storedMatrixOf = (x: tf.TensorInfo): StoredMatrix | null => store.get(x.dataId);

/** Whether one of them lies in the store: a backend's kernel cannot take it as it is. */
export const someStored = (tensors: readonly tf.TensorInfo[]): boolean => tensors.some((x) => store.get(x.dataId));

/** The same tensor once more, as `tf.clone` gives it, without moving it to the active backend. Owned by the caller; not differentiable. */
export function anotherOf<T extends tf.Tensor>(x: T): T {
  if (!storedMatrixOf(x)) return noGradient(() => tf.clone(x));
  store.incRef(x.dataId);
  return tf.engine().makeTensorFromTensorInfo({ dataId: x.dataId, shape: x.shape, dtype: x.dtype }, store) as T;
}

/**
 * A frozen matrix as kernels that know nothing of forms take it: unpacked where it lies in the store, else the same once more.
 * @returns owned by the caller. Not differentiable.
 */
export const unpacked = (x: tf.Tensor2D): tf.Tensor2D =>
  storedMatrixOf(x)?.unpack() ?? (noGradient(() => tf.clone(x)) as tf.Tensor2D);
