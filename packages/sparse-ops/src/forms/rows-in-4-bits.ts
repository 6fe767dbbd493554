/**
 * @file A matrix in 4 bits from its rows as they come from a file: only some of them are there as numbers at a time, and what is kept is half a byte a number and
 * the scales. Of a model as large as memory that is the difference between loading and not loading. The codes are those of `storeAs`.
 */
import type * as tf from '@tensorflow/tfjs';
import type { FourBitType } from '../contract/layers.js';
import { hasKernel } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import type { StoreAsOptions } from './form.js';
import { FORMS } from './forms.js';
import { checkBlocks, DEFAULT_BLOCK, quantisedTensor } from './four-bit-form.js';
import { quantise4bitOnHost } from './quantise-4bit.js';
import { remember, SAMPLE, spreadPlaces } from './stored-form.js';

/** Whether the host quantises for the active backend, which then needs no more of a matrix at a time than some rows. */
export const quantisesByRows = (): boolean => !hasKernel('SpftQuantise4bit');

/** Takes a matrix's rows, from the first to the last. */
export class RowsIn4Bits {
  readonly #type: FourBitType;
  readonly #shape: readonly [number, number];
  readonly #options: StoreAsOptions;
  readonly #blockSize: number;
  readonly #codes: Uint8Array;
  readonly #absmax: Float32Array;
  readonly #first: Float32Array;
  readonly #spread = new Float32Array(SAMPLE);
  readonly #places: Int32Array;
  /** Numbers that have come. */
  #count = 0;

  /** @throws StoredFormError where the active backend does not have the form, or the matrix does not fit it: before anything is read. */
  constructor(shape: readonly [out: number, inputs: number], type: FourBitType, options: StoreAsOptions = {}) {
    FORMS[type].require();
    const { blockSize = DEFAULT_BLOCK } = options;
    checkBlocks(shape, blockSize);
    const size = shape[0] * shape[1];
    this.#type = type;
    this.#shape = shape;
    this.#options = options;
    this.#blockSize = blockSize;
    this.#codes = new Uint8Array(size / 2);
    this.#absmax = new Float32Array(size / blockSize);
    this.#first = new Float32Array(Math.min(SAMPLE, size === 0 ? 0 : shape[1]));
    this.#places = spreadPlaces(size);
  }

  /** @param values the next rows, whole ones; read before it returns. @throws RangeError for parts of rows, or more than there are. */
  add(values: Float32Array): void {
    const [out, inputs] = this.#shape;
    const begin = this.#count;
    const end = begin + values.length;
    if (end > out * inputs || values.length % Math.max(1, inputs) !== 0) {
      throw new RangeError(
        `RowsIn4Bits: ${values.length} numbers are no rows of ${inputs}, or more than are left of [${out},${inputs}]`,
      );
    }
    const { codes, absmax } = quantise4bitOnHost(values, this.#type, this.#blockSize);
    this.#codes.set(codes, begin / 2);
    this.#absmax.set(absmax, begin / this.#blockSize);
    if (begin === 0) this.#first.set(values.subarray(0, this.#first.length));
    this.#places.forEach((place, n) => {
      if (place >= begin && place < end) this.#spread[n] = values[place - begin]!;
    });
    this.#count = end;
  }

  /**
   * The matrix, once all rows have come: as `storeAs` of all of it.
   * @returns owned by the caller. Not differentiable.
   * @throws StoredFormError where a number was not finite.
   */
  finish(): tf.Tensor2D {
    const [out, inputs] = this.#shape;
    if (this.#count !== out * inputs)
      throw new RangeError(`RowsIn4Bits: ${this.#count} numbers of [${out},${inputs}] have come`);
    return noGradient(() => {
      const quantised = { codes: this.#codes, absmax: this.#absmax };
      const { tensor, kind } = quantisedTensor(this.#type, this.#shape, quantised, this.#options);
      const spread = this.#count === 0 ? new Float32Array() : this.#spread;
      remember(tensor, { form: this.#type, kind, first: this.#first, spread });
      return tensor;
    });
  }
}
