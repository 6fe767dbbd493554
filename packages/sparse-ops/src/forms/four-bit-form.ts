/** @file `nf4` and `fp4`: codes of 4 bits as bitsandbytes has them (QLoRA), on every backend: in its own form, or as a stored matrix. */
import * as tf from '@tensorflow/tfjs';
import type { FourBitType, Packed4bitAttributes } from '../contract/layers.js';
import { frozenBytes } from '../engine/frozen-bytes.js';
import { hasKernel } from '../engine/op.js';
import { type FormDefinition, type StoreAsOptions, StoredFormError } from './form.js';
import { type PackedArraysOf, packedMatrix } from './four-bit.js';
import { type PackedKind, packedTensor } from './packed-tensor.js';
import { BLOCK_SIZES, type Quantised, quantise4bit, quantiseScales } from './quantise-4bit.js';

/** A scale of scales for so many, as bitsandbytes has it. */
const NESTED_BLOCK = 256;

/** Numbers that share a scale where nothing else is asked for. */
export const DEFAULT_BLOCK = 64;

/** @throws StoredFormError where matrices [out, in] have no such blocks. */
export function checkBlocks([out, inputs]: readonly number[], blockSize: number): void {
  if (!BLOCK_SIZES.includes(blockSize)) {
    throw new StoredFormError(`blocks of 4 bit codes have ${BLOCK_SIZES.join(', ')} numbers, not ${blockSize}`);
  }
  if (inputs! % blockSize === 0) return;
  throw new StoredFormError(
    `a weight [${out},${inputs}] cannot be stored in 4 bits by blocks of ${blockSize}: its rows are no multiple of that, and blocks would reach over two; ` +
      'leave this model in bf16',
  );
}

/**
 * A matrix as it is computed with: in the numbers that its codes stand for, rounded to nothing but what the backend computes in, as bitsandbytes unpacks them for
 * its forward. What they are rounded to when they are taken out (`dequantize_4bit`) is remembered for checkpoints.
 */
export const unrounded = (arrays: PackedArraysOf): PackedArraysOf => ({
  ...arrays,
  attributes: { ...arrays.attributes, dtype: 'F32' },
});

/**
 * The tensor of a matrix in 4 bits on the active backend, owned by the caller.
 * @throws StoredFormError where its numbers were not all finite.
 */
export function quantisedTensor(
  type: FourBitType,
  [out, inputs]: readonly [number, number],
  { codes, absmax }: Quantised,
  { blockSize = DEFAULT_BLOCK, doubleQuantisation = false, dtype = 'F32' }: StoreAsOptions,
): { readonly tensor: tf.Tensor2D; readonly kind: PackedKind } {
  const broken = absmax.findIndex((scale) => !Number.isFinite(scale));
  if (broken >= 0) {
    throw new StoredFormError(
      `a weight to be stored in ${type} has numbers that are not finite, in row ${Math.floor((broken * blockSize) / inputs)}; is the checkpoint damaged?`,
    );
  }
  const nested = doubleQuantisation ? quantiseScales(absmax, { blockSize: NESTED_BLOCK }) : null;
  const attributes: Packed4bitAttributes = {
    ...{ out, in: inputs, blockSize, dtype },
    ...{ nestedBlockSize: nested ? NESTED_BLOCK : 0, offset: nested?.offset ?? 0 },
  };
  const scales = nested ? { absmax: nested.codes, nestedAbsmax: nested.absmax } : { absmax };
  const kind = { type, attributes };
  return { tensor: packedTensor(packedMatrix(unrounded({ ...kind, codes, ...scales }))), kind };
}

/** Codes, scales and tables, as `packedMatrix` makes tensors of them. */
function packedBytes(
  [out, inputs]: readonly [number, number],
  { blockSize = DEFAULT_BLOCK, doubleQuantisation = false }: StoreAsOptions,
): number {
  const blocks = (out * inputs) / blockSize;
  const scales = doubleQuantisation
    ? [frozenBytes('U8', [blocks]), frozenBytes('F32', [Math.ceil(blocks / NESTED_BLOCK)]), frozenBytes('F32', [256])]
    : [frozenBytes('F32', [blocks])];
  const [codes, map] = [frozenBytes('U8', [(out * inputs) / 2]), frozenBytes('F32', [16])];
  return scales.reduce((sum, bytes) => sum + bytes, codes + map);
}

export const fourBitForm = (type: FourBitType): FormDefinition => ({
  require() {
    // A backend with forms of its own has kernels that take them in attributes, so it must have this one too.
    if (!hasKernel('SpftStoreAs') || hasKernel('SpftStore4bit')) return;
    throw new StoredFormError(
      `the backend '${tf.getBackend()}' has no weights in 4 bits (${type}) yet; choose another, or leave them in bf16`,
    );
  },
  bytes: packedBytes,
  store(x, options) {
    const { blockSize = DEFAULT_BLOCK } = options;
    checkBlocks(x.shape, blockSize);
    return quantisedTensor(type, x.shape, quantise4bit(x, type, blockSize), options);
  },
});

/**
 * Whether arrays are those of a matrix in codes.
 * @throws StoredFormError saying which is not of the size that it must have.
 */
export function checkPacked({ type, attributes, codes, absmax, nestedAbsmax, nestedMap }: PackedArraysOf): void {
  const { out, in: inputs, blockSize, nestedBlockSize } = attributes;
  checkBlocks([out, inputs], blockSize);
  const blocks = (out * inputs) / blockSize;
  const check = (about: string, length: number | undefined, wanted: number) => {
    if (length === wanted) return;
    const found = length === undefined ? 'found none' : `found ${length}`;
    throw new StoredFormError(`a weight [${out},${inputs}] in ${type} has ${wanted} ${about}, ${found}`);
  };
  check('bytes of codes', codes.length, (out * inputs) / 2);
  check(`scales of ${blockSize} numbers`, absmax.length, blocks);
  if (nestedBlockSize === 0) return;
  check(`scales of ${nestedBlockSize} scales`, nestedAbsmax?.length, Math.ceil(blocks / nestedBlockSize));
  if (nestedMap) check('numbers that codes of scales stand for', nestedMap.length, 256);
}
