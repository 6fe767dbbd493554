/** @file What a form of frozen matrices says of itself: a file for each (fp8-form.ts, four-bit-form.ts), and a line in forms.ts. */
import type { OptionNames } from '@spft/safetensors/internals';
import type * as tf from '@tensorflow/tfjs';
import type { StoredType } from '../contract/layers.js';
import type { PackedKind } from './packed-tensor.js';

/** The active backend has no such form of weights, or a matrix cannot be stored in it. */
export class StoredFormError extends Error {
  readonly code = 'SPFT_STORED_FORM';
  override readonly name = 'StoredFormError';
}

export interface StoreAsOptions {
  /** `fp8`: keeps what gradients need of the matrix, its transpose, rather than making it in every step: faster, for as much memory again. */
  readonly keepTransposed?: boolean;
  /**
   * `fp8`: of so many input channels, those of most energy, a product has what their codes leave too, in as many more columns. A multiple of 16 up to 240, and at
   * most half of the inputs; `auto`: 128 where that is so and the GPU's products have a scale for each row, else none. Default 0.
   */
  readonly outlierChannels?: number | 'auto';
  /** 4 bits: numbers that share a scale. Default 64. */
  readonly blockSize?: number;
  /** 4 bits: scales in 8 bits too, a third of a bit a number saved. Default false. */
  readonly doubleQuantisation?: boolean;
  /** 4 bits: what the matrix came in, which a checkpoint says of it. Default `F32`. */
  readonly dtype?: StoredType;
}

export const STORE_AS_OPTIONS: OptionNames<StoreAsOptions> = {
  ...{ keepTransposed: true, outlierChannels: true },
  ...{ blockSize: true, doubleQuantisation: true, dtype: true },
};

export interface FormDefinition {
  /** @throws StoredFormError where the active backend cannot have it. */
  require(): void;
  /** Bytes of the active backend's memory that a matrix [out, in] takes in it, of a form of the backend's own but for its layout of scales. */
  bytes(shape: readonly [out: number, inputs: number], options: StoreAsOptions): number;
  /** @throws StoredFormError for a matrix that does not fit. @returns a tensor owned by the caller, and what is to be known to take it apart. */
  store(x: tf.Tensor2D, options: StoreAsOptions): { readonly tensor: tf.Tensor2D; readonly kind: PackedKind | null };
}
