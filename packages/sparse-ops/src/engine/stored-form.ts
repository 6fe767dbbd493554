/**
 * @file Forms of frozen matrices that take less room than plain numbers, such as FP8. A matrix in a form is a tensor like any other: its values are what it
 * stands for, every op and every kernel takes it, and a backend's products run on it as it lies. The ops need not know.
 *
 * A backend has a form if it has the kernel `SpftStoreAs` and takes the form's name. What takes the place of such a matrix, such as a merged weight, is
 * plain again (`storedLike`): a form's steps are coarser than what an adapter adds.
 */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from './op.js';
import { noGradient } from './tape.js';

/** `fp8`: E4M3 with one scale a matrix, a power of two. */
export const STORED_FORMS = ['fp8'] as const;
export type StoredFormName = (typeof STORED_FORMS)[number];

/** The active backend has no such form of weights. */
export class StoredFormError extends Error {
  readonly code = 'SPFT_STORED_FORM';
  override readonly name = 'StoredFormError';
}

export interface StoreAsOptions {
  /** Keeps what gradients need of the matrix, its transpose, rather than making it in every step: faster, for as much memory again. */
  readonly keepTransposed?: boolean;
}

/** Some numbers of a matrix as it was before it was stored in a form, by which a model is known again. */
export interface OriginalSample {
  /** The beginning of its first row. */
  readonly first: Float32Array;
  /** At `spreadPlaces`. */
  readonly spread: Float32Array;
}

interface Stored extends OriginalSample {
  readonly form: StoredFormName;
}

/** By dataId, which clones share. */
const stored = new WeakMap<tf.DataId, Stored>();

/** The form that a matrix was stored in; null for plain numbers. */
export const formOf = (x: tf.Tensor): StoredFormName | null => stored.get(x.dataId)?.form ?? null;

/** What is remembered of a matrix in a form; null for plain ones, which can be looked at. */
export const originalSample = (x: tf.Tensor): OriginalSample | null => stored.get(x.dataId) ?? null;

/** Numbers of each kind in a sample. */
const SAMPLE = 64;

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

/** @throws StoredFormError where the active backend cannot store matrices so. */
export function requireForm(form: StoredFormName): void {
  if (hasKernel('SpftStoreAs')) return;
  throw new StoredFormError(
    `weights in ${form} are products on codes, which the backend '${tf.getBackend()}' does not have; cuda has them, on GPUs of compute capability 8.9 or ` +
      'newer. Choose that backend, or leave base_precision out',
  );
}

/**
 * A frozen matrix in another form, whose values are those of x rounded to it.
 * Reads a few numbers back: for loading, not for a step.
 * @returns owned by the caller. Not differentiable.
 * @throws StoredFormError where the active backend has no forms; the backend's own error where the device cannot do it.
 */
export function storeAs(
  x: tf.Tensor2D,
  form: StoredFormName,
  { keepTransposed = false }: StoreAsOptions = {},
): tf.Tensor2D {
  requireForm(form);
  return noGradient(() => {
    // Read before there is something to give back.
    const sample = sampleOf(x);
    const made = runKernel('SpftStoreAs', { x }, { form, keepTransposed });
    stored.set(made.dataId, { form, ...sample });
    return made;
  });
}
