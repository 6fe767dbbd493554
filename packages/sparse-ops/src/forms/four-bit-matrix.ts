/** @file A frozen matrix in codes of 4 bits as a stored one: what a tensor of it does where the active backend has no such form of its own. */
import * as tf from '@tensorflow/tfjs';
import {
  disposePacked,
  type PackedMatrix,
  packedProduct,
  packedProductTransposed,
  unpack4bit,
  unpack4bitColumns,
  unpack4bitRows,
} from './four-bit.js';
import type { StoredMatrix } from './stored-matrix.js';
import { type PackedViews, unpackAll } from './unpack-blocks.js';

export class FourBitMatrix implements StoredMatrix {
  readonly shape: readonly [number, number];

  /** @param packed taken over; its tensors outlive every scope. */
  constructor(readonly packed: PackedMatrix) {
    this.shape = [packed.attributes.out, packed.attributes.in];
    for (const tensor of Object.values(packed.tensors)) tf.keep(tensor);
  }

  unpack(): tf.Tensor2D {
    return unpack4bit(this.packed);
  }

  rows(indices: tf.Tensor1D): tf.Tensor2D {
    return unpack4bitRows(this.packed, indices);
  }

  columns(indices: tf.Tensor1D): tf.Tensor2D {
    return unpack4bitColumns(this.packed, indices);
  }

  times(x: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D {
    return packedProduct(x, this.packed, bias);
  }

  timesTransposed(dy: tf.Tensor2D): tf.Tensor2D {
    return packedProductTransposed(dy, this.packed);
  }

  values(): Float32Array {
    const { tensors, attributes } = this.packed;
    const arrays = Object.entries(tensors).map(([name, tensor]) => [name, tensor.dataSync()]);
    return unpackAll(Object.fromEntries(arrays) as PackedViews, attributes);
  }

  dispose(): void {
    disposePacked(this.packed);
  }
}
