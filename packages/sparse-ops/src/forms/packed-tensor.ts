/** @file A matrix in codes of 4 bits as a tensor like any other: in the active backend's own form where it has one (`SpftStore4bit`), else a stored matrix. */
import * as tf from '@tensorflow/tfjs';
import type { Packed4bitAttributes, Store4bitAttributes } from '../contract/layers.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { disposePacked, type PackedMatrix } from './four-bit.js';
import { FourBitMatrix } from './four-bit-matrix.js';
import { storedMatrixOf, storedMatrixTensor } from './stored-matrix.js';

/** What is to be known of the tensor to take it apart again. */
export type PackedKind = Omit<PackedMatrix, 'tensors'>;

/**
 * @param matrix taken over, also where it throws.
 * @returns [out, in], owned by the caller.
 */
export function packedTensor(matrix: PackedMatrix): tf.Tensor2D {
  if (!hasKernel('SpftStore4bit')) return storedMatrixTensor(new FourBitMatrix(matrix));
  try {
    const attributes: Store4bitAttributes = { ...matrix.attributes, type: matrix.type };
    return noGradient(() => runKernel('SpftStore4bit', matrix.tensors, attributes));
  } finally {
    disposePacked(matrix);
  }
}

/** The names of a matrix's tensors, in the contract's order. */
const partNames = ({ nestedBlockSize }: Packed4bitAttributes): readonly (keyof PackedMatrix['tensors'])[] =>
  nestedBlockSize === 0 ? ['codes', 'map', 'absmax'] : ['codes', 'map', 'absmaxCodes', 'nestedAbsmax', 'nestedMap'];

/**
 * The parts of a tensor that `packedTensor` made.
 * @param kind as it was made.
 * @returns owned by the caller.
 */
export function partsOf(x: tf.Tensor2D, { type, attributes }: PackedKind): PackedMatrix {
  const names = partNames(attributes);
  const stored = storedMatrixOf(x);
  const tensors = noGradient(() =>
    stored instanceof FourBitMatrix
      ? names.map((name) => tf.clone(stored.packed.tensors[name]!))
      : (runKernel('SpftParts4bit', { x }, {}) as tf.Tensor[]),
  );
  const named = Object.fromEntries(names.map((name, n) => [name, tensors[n]!]));
  return { type, attributes, tensors: named as unknown as PackedMatrix['tensors'] };
}
