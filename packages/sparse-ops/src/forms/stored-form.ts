/**
 * @file Forms of frozen matrices that take less room than plain numbers: FP8, and 4 bits. A matrix in a form is a tensor like any other: its values are what it
 * stands for, every op takes it, and products run on it as it lies. What is above the ops need not know.
 *
 * What takes the place of such a matrix, such as a merged weight, is plain again (`storedLike`): a form's steps are coarser than what an adapter adds.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import type { WeightShards } from '../contract/weight-shards.js';
import { markInShards } from '../engine/in-shards.js';
import { noGradient } from '../engine/tape.js';
import { STORE_AS_OPTIONS, type StoreAsOptions, StoredFormError } from './form.js';
import { FORMS, type StoredFormName } from './forms.js';
import { disposePacked, numbersAt, type PackedArraysOf, packedMatrix } from './four-bit.js';
import { checkPacked, unrounded } from './four-bit-form.js';
import { type PackedKind, packedTensor, partsOf } from './packed-tensor.js';

/** Some numbers of a matrix as it was before it was stored in a form, or in parts, by which a model is known again. */
export interface OriginalSample {
  /** The beginning of its first row. */
  readonly first: Float32Array;
  /** At `spreadPlaces`. */
  readonly spread: Float32Array;
}

export interface Stored extends OriginalSample {
  readonly form: StoredFormName | null;
  readonly kind: PackedKind | null;
}

/** By dataId, which clones share. */
const stored = new WeakMap<tf.DataId, Stored>();

/** Says what a tensor is; for what makes such tensors. */
export const remember = (x: tf.Tensor, as: Stored): void => void stored.set(x.dataId, as);

/** The form that a matrix was stored in; null for plain numbers. */
export const formOf = (x: tf.Tensor): StoredFormName | null => stored.get(x.dataId)?.form ?? null;

/** What is remembered of a matrix in a form or in parts; null for others, which can be looked at. */
export const originalSample = (x: tf.Tensor): OriginalSample | null => stored.get(x.dataId) ?? null;

/** Numbers of each kind in a sample. */
export const SAMPLE = 64;

/** Places spread evenly over so many numbers. */
export const spreadPlaces = (size: number): Int32Array =>
  Int32Array.from({ length: SAMPLE }, (_, i) => Math.floor(((i + 0.5) * size) / SAMPLE));

function sampleOf(x: tf.Tensor2D): OriginalSample {
  if (x.size === 0) return { first: new Float32Array(), spread: new Float32Array() };
  return tf.tidy(() => {
    const read = (values: tf.Tensor) => values.dataSync() as Float32Array;
    const first = read(tf.slice(x, [0, 0], [1, Math.min(SAMPLE, x.shape[1])]));
    return { first, spread: read(tf.gather(tf.reshape(x, [x.size]), tf.tensor1d(spreadPlaces(x.size), 'int32'))) };
  });
}

/** From the codes, so that all backends have the same, whatever they compute in. */
function sampleOfArrays(arrays: PackedArraysOf): OriginalSample {
  const { out, in: inputs } = arrays.attributes;
  if (out * inputs === 0) return { first: new Float32Array(), spread: new Float32Array() };
  const first = Int32Array.from({ length: Math.min(SAMPLE, inputs) }, (_, n) => n);
  return { first: numbersAt(arrays, first), spread: numbersAt(arrays, spreadPlaces(out * inputs)) };
}

/** @throws StoredFormError where the active backend cannot store matrices so. */
export const requireForm = (form: StoredFormName): void => FORMS[form].require();

/** Bytes of the active backend's memory that a matrix [out, in] would take in a form. */
export const formBytes = (
  form: StoredFormName,
  shape: readonly [out: number, inputs: number],
  options: StoreAsOptions = {},
): number => FORMS[form].bytes(shape, options);

/**
 * A frozen matrix in another form, whose values are those of x rounded to it.
 * Reads numbers back: for loading, not for a step.
 * @param x plain.
 * @returns owned by the caller. Not differentiable.
 * @throws StoredFormError where the active backend does not have the form, the matrix does not fit it, or is in a form already; the backend's own error where the
 * device cannot do it.
 */
export function storeAs(x: tf.Tensor2D, form: StoredFormName, options: StoreAsOptions = {}): tf.Tensor2D {
  assertKnownOptions('storeAs', options, STORE_AS_OPTIONS);
  requireForm(form);
  const before = formOf(x);
  if (before !== null) {
    throw new StoredFormError(
      `a weight in ${before} cannot be stored in ${form}: it would be rounded twice; store the original`,
    );
  }
  return noGradient(() => {
    // Read before there is something to give back.
    const sample = sampleOf(x);
    const { tensor, kind } = FORMS[form].store(x, options);
    stored.set(tensor.dataId, { form, kind, ...sample });
    return tensor;
  });
}

/**
 * A frozen matrix from its codes, as a checkpoint has them.
 * @returns owned by the caller. Not differentiable.
 * @throws StoredFormError where the active backend does not have the form, or an array is not of the size that it must have.
 */
export function storePacked(arrays: PackedArraysOf): tf.Tensor2D {
  const { type, attributes } = arrays;
  requireForm(type);
  checkPacked(arrays);
  return noGradient(() => {
    const plain = unrounded(arrays);
    const tensor = packedTensor(packedMatrix(plain));
    stored.set(tensor.dataId, { form: type, kind: { type, attributes }, ...sampleOfArrays(plain) });
    return tensor;
  });
}

/** What a matrix in 4 bits is, without its codes; null for all others. */
export const packedKind = (x: tf.Tensor): PackedKind | null => stored.get(x.dataId)?.kind ?? null;

/**
 * Matrices of one layer of which this process keeps a part (`WeightShards.hold`), in the form that they have. Reads a few numbers back of each: for loading.
 * @param weights taken over.
 * @returns owned by the caller, of the same values. Not differentiable.
 */
export function holdShards(shards: WeightShards, weights: readonly tf.Tensor2D[]): tf.Tensor2D[] {
  return noGradient(() => {
    const before = weights.map(
      (weight) => stored.get(weight.dataId) ?? { form: null, kind: null, ...sampleOf(weight) },
    );
    const held = shards.hold(weights) as tf.Tensor2D[];
    held.forEach((weight, n) => {
      stored.set(weight.dataId, before[n]!);
      markInShards(weight);
    });
    return held;
  });
}

/**
 * The codes of a matrix that is in 4 bits, for a checkpoint.
 * @returns null for all others.
 */
export async function packedArrays(x: tf.Tensor2D): Promise<PackedArraysOf | null> {
  const kind = stored.get(x.dataId)?.kind;
  if (!kind) return null;
  const parts = partsOf(x, kind);
  const { codes, absmax, absmaxCodes, nestedAbsmax, nestedMap } = parts.tensors;
  const read = async <A>(tensor: tf.Tensor | undefined) => (await tensor!.data()) as unknown as A;
  try {
    const scales = absmax
      ? { absmax: await read<Float32Array>(absmax) }
      : {
          absmax: await read<Uint8Array>(absmaxCodes),
          nestedAbsmax: await read<Float32Array>(nestedAbsmax),
          nestedMap: await read<Float32Array>(nestedMap),
        };
    return { ...kind, codes: await read<Uint8Array>(codes), ...scales };
  } finally {
    disposePacked(parts);
  }
}
