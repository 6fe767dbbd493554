/**
 * @file Matrices in codes of 4 bits as bitsandbytes has them (NF4 and FP4 of QLoRA, with or without double quantisation): whole as plain numbers, kept rows or
 * kept columns alone, and products that unpack on their way.
 *
 * The compositions look codes up in a table of 256 pairs, one pair a byte, so that any tfjs backend can. Backends have kernels: to unpack costs 4 bits and writes
 * 32 for each number, and products are as fast as what comes after allows.
 */
import * as tf from '@tensorflow/tfjs';
import type { KernelInputsOf } from '../contract/kernels.js';
import type { FourBitType, Packed4bitAttributes, StoredType } from '../contract/layers.js';
import { hasKernel, runKernel, runOp } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { unpack4bitColumnsOnHost, unpack4bitOnHost, unpack4bitRowsOnHost } from '../kernels/host/four-bit.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { timesPlain, timesPlainTransposed } from '../project/plain-product.js';
import { CODE_BOOKS, DYNAMIC_MAP } from './code-books.js';
import { numberAt, type PackedViews, unpackAll } from './unpack-blocks.js';

registerHostKernel('SpftUnpack4bit', unpack4bitOnHost);
registerHostKernel('SpftUnpack4bitRows', unpack4bitRowsOnHost);
registerHostKernel('SpftUnpack4bitColumns', unpack4bitColumnsOnHost);

/** Tensors of a matrix in codes, as kernels take them. */
export type PackedTensors = KernelInputsOf<'SpftUnpack4bit', tf.Tensor>;

/** A matrix [out, in] in codes of 4 bits. */
export interface PackedMatrix {
  readonly type: FourBitType;
  readonly attributes: Packed4bitAttributes;
  /** Owned by whoever made it. */
  readonly tensors: PackedTensors;
}

/** fl(map[codes] · absmax) + offset, or the scales as they are: [blocks]. */
function scalesOf({ tensors, attributes: { nestedBlockSize, offset } }: PackedMatrix): tf.Tensor1D {
  const { absmax, absmaxCodes, nestedAbsmax, nestedMap } = tensors;
  if (!absmaxCodes) return absmax as tf.Tensor1D;
  const blocks = absmaxCodes.size;
  const numbers = tf.gather(nestedMap!, tf.cast(absmaxCodes, 'int32'));
  const groups = Math.ceil(blocks / nestedBlockSize);
  const spread = tf.reshape(tf.tile(tf.reshape(nestedAbsmax!, [groups, 1]), [1, nestedBlockSize]), [-1]);
  return tf.add(tf.mul(numbers, tf.slice(spread, [0], [blocks])), tf.scalar(offset)) as tf.Tensor1D;
}

/** Both numbers of each byte, [256, 2]. */
function pairsOf(map: tf.Tensor): tf.Tensor2D {
  const high = tf.reshape(tf.tile(tf.reshape(map, [16, 1]), [1, 16]), [256]);
  return tf.stack([high, tf.tile(map, [16])], 1) as tf.Tensor2D;
}

/**
 * x rounded to a type of fewer bits, by sums and products alone, as tfjs knows no bits: Veltkamp's splitting, which leaves 24 − s bits with a factor of 2^s + 1.
 * Exact halves may go the other way than to even, which weights hardly ever are. float16's numbers below 2^-14 are multiples of 2^-24: 0.75 added makes them so.
 */
function roundedTo(x: tf.Tensor2D, dtype: StoredType): tf.Tensor2D {
  if (dtype === 'F32') return x;
  const large = tf.mul(x, (dtype === 'BF16' ? 2 ** 16 : 2 ** 13) + 1);
  const rounded = tf.add(large, tf.sub(x, large)) as tf.Tensor2D;
  if (dtype === 'BF16') return rounded;
  const isSmall = tf.cast(tf.less(tf.abs(x), 2 ** -14), 'float32');
  const small = tf.sub(tf.add(x, 0.75), 0.75);
  return tf.add(tf.mul(isSmall, small), tf.mul(tf.sub(1, isSmall), rounded)) as tf.Tensor2D;
}

/** Numbers [n·blockSize] of codes and their scales [n]. */
function numbersOf(codes: tf.Tensor, scales: tf.Tensor, m: PackedMatrix, rows: number): tf.Tensor2D {
  const { in: inputs, blockSize, dtype } = m.attributes;
  const pairs = tf.gather(pairsOf(m.tensors.map), tf.reshape(codes, [-1]));
  const scaled = tf.mul(tf.reshape(pairs, [-1, blockSize]), tf.reshape(scales, [-1, 1]));
  return roundedTo(tf.reshape(scaled, [rows, inputs]), dtype);
}

/** @returns [out, in], owned by the caller. Not differentiable. */
export function unpack4bit(m: PackedMatrix): tf.Tensor2D {
  const { out, in: inputs } = m.attributes;
  return noGradient(() =>
    runOp('SpftUnpack4bit', m.tensors, m.attributes, () =>
      out * inputs === 0 ? tf.zeros([out, inputs]) : numbersOf(tf.cast(m.tensors.codes, 'int32'), scalesOf(m), m, out),
    ),
  );
}

/** Rows by index, and nothing of the others. @param indices int32 [kept]. @returns [kept, in], owned by the caller. Not differentiable. */
export function unpack4bitRows(m: PackedMatrix, indices: tf.Tensor1D): tf.Tensor2D {
  const { out, in: inputs, blockSize } = m.attributes;
  const kept = indices.shape[0];
  return noGradient(() =>
    runOp('SpftUnpack4bitRows', { ...m.tensors, indices }, m.attributes, () => {
      if (kept * inputs === 0) return tf.zeros([kept, inputs]);
      const codes = tf.gather(tf.reshape(tf.cast(m.tensors.codes, 'int32'), [out, inputs / 2]), indices);
      const scales = tf.gather(tf.reshape(scalesOf(m), [out, inputs / blockSize]), indices);
      return numbersOf(codes, scales, m, kept);
    }),
  );
}

/** Columns by index. @param indices int32 [kept]. @returns [out, kept], owned by the caller. Not differentiable. */
export function unpack4bitColumns(m: PackedMatrix, indices: tf.Tensor1D): tf.Tensor2D {
  const { out, in: inputs, blockSize, dtype } = m.attributes;
  const kept = indices.shape[0];
  return noGradient(() =>
    runOp('SpftUnpack4bitColumns', { ...m.tensors, indices }, m.attributes, () => {
      if (out * kept === 0) return tf.zeros([out, kept]);
      const pairs = tf.floorDiv(indices, tf.scalar(2, 'int32'));
      const isSecond = tf.sub(indices, tf.mul(pairs, tf.scalar(2, 'int32')));
      const bytes = tf.gather(tf.reshape(tf.cast(m.tensors.codes, 'int32'), [out, inputs / 2]), pairs, 1);
      const places = tf.add(tf.mul(bytes, tf.scalar(2, 'int32')), tf.reshape(isSecond, [1, kept]));
      const numbers = tf.gather(tf.reshape(pairsOf(m.tensors.map), [512]), tf.reshape(places, [-1]));
      const blocks = tf.floorDiv(indices, tf.scalar(blockSize, 'int32'));
      const scales = tf.gather(tf.reshape(scalesOf(m), [out, inputs / blockSize]), blocks, 1);
      return roundedTo(tf.mul(tf.reshape(numbers, [out, kept]), scales) as tf.Tensor2D, dtype);
    }),
  );
}

/** x·Wᵀ + b, without a gradient. @returns [T, out], owned by the caller. */
export function packedProduct(x: tf.Tensor2D, m: PackedMatrix, bias: tf.Tensor1D | null): tf.Tensor2D {
  if (!hasKernel('SpftLinear4bit')) return tf.tidy(() => timesPlain(x, unpack4bit(m), bias));
  const run = () => runKernel('SpftLinear4bit', { x, ...m.tensors }, m.attributes);
  return bias ? tf.tidy(() => tf.add(run(), bias) as tf.Tensor2D) : run();
}

/** dy·W, without a gradient. @returns [T, in], owned by the caller. */
export const packedProductTransposed = (dy: tf.Tensor2D, m: PackedMatrix): tf.Tensor2D =>
  runOp('SpftLinear4bitGrad', { dy, ...m.tensors }, m.attributes, () => timesPlainTransposed(dy, unpack4bit(m)));

/**
 * x·Wᵀ.
 * @param x [T, in].
 * @param m W, frozen; must live until the gradient has been taken.
 * @returns [T, out], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function linear4bit(x: tf.Tensor2D, m: PackedMatrix): tf.Tensor2D {
  const { out, in: inputs } = m.attributes;
  if (x.rank !== 2 || x.shape[1] !== inputs) {
    throw new RangeError(`linear4bit: x [${x.shape}] must have as many columns as the matrix [${out},${inputs}]`);
  }
  const op = tf.customGrad((x) => ({
    value: packedProduct(x as tf.Tensor2D, m, null),
    gradFunc: (dy: tf.Tensor) => packedProductTransposed(dy as tf.Tensor2D, m),
  }));
  return op(x) as tf.Tensor2D;
}

/** Arrays of a matrix in codes: what a checkpoint has of it. */
export interface PackedArraysOf {
  readonly type: FourBitType;
  readonly attributes: Packed4bitAttributes;
  /** [out·in/2]. */
  readonly codes: Uint8Array;
  /** [blocks], or, with double quantisation, its codes. */
  readonly absmax: Float32Array | Uint8Array;
  /** Of double quantisation: [⌈blocks / nestedBlockSize⌉]. */
  readonly nestedAbsmax?: Float32Array;
  /** What its codes stand for, [256]; of other machines it may differ from ours in a last place. */
  readonly nestedMap?: Float32Array;
}

/** A matrix in codes on the active backend, which the caller owns (`disposePacked`). */
export function packedMatrix(arrays: PackedArraysOf): PackedMatrix {
  const { type, attributes, codes, absmax, nestedAbsmax, nestedMap = DYNAMIC_MAP } = arrays;
  const made: tf.Tensor[] = [];
  const make = (values: Float32Array | Uint8Array) => {
    const tensor = tf.tensor1d(values, values instanceof Uint8Array ? 'bool' : 'float32');
    made.push(tensor);
    return tensor;
  };
  try {
    const [code, map] = [make(codes), make(CODE_BOOKS[type])];
    const scales =
      absmax instanceof Float32Array
        ? { absmax: make(absmax) }
        : { absmaxCodes: make(absmax), nestedAbsmax: make(nestedAbsmax!), nestedMap: make(nestedMap) };
    return { type, attributes, tensors: { codes: code, map, ...scales } };
  } catch (error) {
    tf.dispose(made);
    throw error;
  }
}

function viewsOf({ type, codes, absmax, nestedAbsmax, nestedMap = DYNAMIC_MAP }: PackedArraysOf): PackedViews {
  const scales =
    absmax instanceof Float32Array ? { absmax } : { absmaxCodes: absmax, nestedAbsmax: nestedAbsmax!, nestedMap };
  return { codes, map: CODE_BOOKS[type], ...scales };
}

/** The numbers of such arrays, on the host: [out·in]. */
export const unpackedArrays = (arrays: PackedArraysOf): Float32Array => unpackAll(viewsOf(arrays), arrays.attributes);

/** Some of the numbers of such arrays, at these places of [out·in]. */
export function numbersAt(arrays: PackedArraysOf, places: Int32Array): Float32Array {
  const views = viewsOf(arrays);
  return Float32Array.from(places, (place) => numberAt(views, arrays.attributes, place));
}

export const disposePacked = ({ tensors }: PackedMatrix): void => tf.dispose({ ...tensors });
