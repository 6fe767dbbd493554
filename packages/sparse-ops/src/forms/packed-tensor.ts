/**
 * @file A matrix in codes as a tensor like any other: its values are what it stands for. Where the active backend has a form of its own (`SpftStore4bit`), it is
 * a tensor of that backend. Elsewhere its data belong to a store of ours, which tfjs takes for a backend: to read the tensor unpacks it on the host; ops that
 * know of forms ask `packedOf` and work on the codes; and a kernel that knows nothing of them gets it moved to its backend, plain from then on, as tfjs moves
 * tensors between backends. So nothing is ever wrong, only larger.
 */
import * as tf from '@tensorflow/tfjs';
import type { Packed4bitAttributes, Store4bitAttributes } from '../contract/layers.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { disposePacked, type PackedMatrix } from './four-bit.js';
import { unpackOnHost } from './unpack-on-host.js';

interface Entry {
  readonly matrix: PackedMatrix;
  references: number;
}

/** Tensors whose data are codes. */
class PackedStore extends tf.KernelBackend {
  readonly #entries = new Map<tf.DataId, Entry>();

  add(matrix: PackedMatrix): tf.DataId {
    const dataId = {};
    this.#entries.set(dataId, { matrix, references: 1 });
    return dataId;
  }

  get(dataId: tf.DataId): PackedMatrix | null {
    return this.#entries.get(dataId)?.matrix ?? null;
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    return unpackOnHost(this.#entries.get(dataId)!.matrix);
  }

  override async read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return this.readSync(dataId);
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    const entry = this.#entries.get(dataId);
    if (!entry) return true;
    entry.references--;
    if (entry.references > 0 && !force) return false;
    this.#entries.delete(dataId);
    disposePacked(entry.matrix);
    return true;
  }

  override refCount(dataId: tf.DataId): number {
    return this.#entries.get(dataId)?.references ?? 0;
  }

  override incRef(dataId: tf.DataId): void {
    this.#entries.get(dataId)!.references++;
  }

  override numDataIds(): number {
    return this.#entries.size;
  }
}

const store = new PackedStore();

/**
 * A tensor [out, in] of a matrix in codes, which it takes over, also where it throws.
 * @returns owned by the caller.
 */
export function packedTensor(matrix: PackedMatrix): tf.Tensor2D {
  const { out, in: inputs } = matrix.attributes;
  if (hasKernel('SpftStore4bit')) {
    try {
      const attributes: Store4bitAttributes = { ...matrix.attributes, type: matrix.type };
      return noGradient(() => runKernel('SpftStore4bit', matrix.tensors, attributes));
    } finally {
      disposePacked(matrix);
    }
  }
  for (const tensor of Object.values(matrix.tensors)) tf.keep(tensor);
  const info: tf.TensorInfo = { dataId: store.add(matrix), shape: [out, inputs], dtype: 'float32' };
  return tf.engine().makeTensorFromTensorInfo(info, store) as tf.Tensor2D;
}

/** The codes of a tensor that lie in our store; null for all others, plain ones as well as those that a backend has in a form of its own. */
export const packedOf = (x: tf.TensorInfo): PackedMatrix | null => store.get(x.dataId);

/** The same tensor once more, as `tf.clone` would give it without moving it to the active backend. Owned by the caller. */
export function anotherOf<T extends tf.Tensor>(x: T): T {
  if (!packedOf(x)) return noGradient(() => tf.clone(x));
  store.incRef(x.dataId);
  return tf.engine().makeTensorFromTensorInfo({ dataId: x.dataId, shape: x.shape, dtype: x.dtype }, store) as T;
}

/** The names of a matrix's tensors, in the contract's order. */
export const partNames = ({ nestedBlockSize }: Packed4bitAttributes): readonly (keyof PackedMatrix['tensors'])[] =>
  nestedBlockSize === 0 ? ['codes', 'map', 'absmax'] : ['codes', 'map', 'absmaxCodes', 'nestedAbsmax', 'nestedMap'];

/**
 * The parts of a tensor that `packedTensor` made.
 * @param about as it was made.
 * @returns owned by the caller.
 */
export function partsOf(x: tf.Tensor2D, { type, attributes }: Omit<PackedMatrix, 'tensors'>): PackedMatrix {
  const names = partNames(attributes);
  const packed = packedOf(x);
  const tensors = noGradient(() =>
    packed
      ? names.map((name) => tf.clone(packed.tensors[name]!))
      : (runKernel('SpftParts4bit', { x }, {}) as tf.Tensor[]),
  );
  const named = Object.fromEntries(names.map((name, n) => [name, tensors[n]!]));
  return { type, attributes, tensors: named as unknown as PackedMatrix['tensors'] };
}
