/** @file Random matrices in codes of four bits, and the same ones unpacked. */
import type * as tf from '@tensorflow/tfjs';
import type { FourBitType } from '../../sparse-ops/src/contract/layers.js';
import { type PackedArraysOf, packedMatrix } from '../../sparse-ops/src/forms/four-bit.js';
import {
  quantise4bitReference,
  quantiseScalesReference,
  unpack4bitReference,
} from '../../sparse-ops/src/forms/four-bit.reference.js';
import { packedTensor } from '../../sparse-ops/src/forms/packed-tensor.js';
import { bf16Tensor, random, roundToBf16, SEED } from './compare.js';

const next = random(SEED);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
const numbers = (count: number) => Float32Array.from({ length: count }, () => roundToBf16(0.05 * normal()));
const matrix = (rows: number, columns: number, values: Float32Array) =>
  bf16Tensor([...values], [rows, columns]) as tf.Tensor2D;

export interface Kind {
  readonly type?: FourBitType;
  readonly nested?: boolean;
  readonly blockSize?: number;
}

/** Random codes of a matrix [out, in], and the numbers that they stand for. */
export function codesOf(out: number, inputs: number, { type = 'nf4', nested = true, blockSize = 64 }: Kind = {}) {
  const { codes, absmax } = quantise4bitReference(numbers(out * inputs), type, blockSize);
  const scales = nested ? quantiseScalesReference(absmax) : null;
  const attributes = {
    ...{ out, in: inputs, blockSize, dtype: 'BF16' as const },
    ...{ nestedBlockSize: scales ? 256 : 0, offset: scales?.offset ?? 0 },
  };
  const arrays: PackedArraysOf = {
    ...{ type, attributes, codes, absmax: scales ? scales.codes : absmax },
    ...(scales && { nestedAbsmax: scales.absmax }),
  };
  return arrays;
}

/** A matrix in codes, and the same one unpacked. */
export function bothOf(
  out: number,
  inputs: number,
  kind: Kind = {},
): readonly [packed: tf.Tensor2D, plain: tf.Tensor2D] {
  const arrays = codesOf(out, inputs, kind);
  const matrixOf = packedMatrix(arrays);
  const parts = Object.fromEntries(
    Object.entries(matrixOf.tensors).map(([name, tensor]) => [name, (tensor as tf.Tensor).dataSync()]),
  );
  const values = unpack4bitReference(parts as never, arrays.attributes) as Float32Array<ArrayBuffer>;
  return [packedTensor(matrixOf), matrix(out, inputs, values)];
}
