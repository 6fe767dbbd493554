/**
 * @file What a model's frozen weights will take of the active backend's memory, before any is read: the reader's decisions (converted-modules.ts, load-options.ts) without its reading,
 * and the backend's own word for each tensor.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { type FourBitType, frozenBytes, type StoredFormName } from '@spft/sparse-ops';
import { formBytes } from '@spft/sparse-ops/internals';
import { wantedForms } from './converted-modules.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { is4Bits, LOAD_OPTIONS, type LoadOptions, storeOptions } from './load-options.js';

export interface WeightMemory {
  /** Bytes of all. */
  readonly bytes: number;
  /** Bytes of the largest tensor. */
  readonly largest: number;
  /** Forms in which matrices lie; the others are plain numbers. */
  readonly forms: ReadonlySet<StoredFormName>;
}

/** The code of a matrix that lies in 4 bits in its checkpoint, by the dtype that its source gives it. */
function packedForm(dtype: string | undefined): FourBitType | null {
  const form = dtype === 'NF4' || dtype === 'FP4' ? (dtype.toLowerCase() as FourBitType) : null;
  return is4Bits(form) ? form : null;
}

/**
 * @param dtypeOf what a tensor is in where it comes from, as `WeightSource.entry` says; undefined where that is not known, which counts as float32.
 * @param options as the model will be loaded with; with `shards`, of what all processes hold together. Matrices that are in 4 bits already count with scales
 * in float32, which they may have in 8 bits.
 * @throws ModelError as loading would, for a precision that is none, and for modules that are not to be converted and are none.
 */
export function weightMemory(
  config: LlamaConfig,
  dtypeOf: (name: string) => string | undefined,
  options: LoadOptions = {},
): WeightMemory {
  assertKnownOptions('weightMemory', options, LOAD_OPTIONS);
  const formOf = wantedForms(config, options);
  const forms = new Set<StoredFormName>();
  let [bytes, largest] = [0, 0];
  for (const [name, shape] of llamaTensors(config)) {
    const dtype = dtypeOf(name);
    const isMatrix = shape.length === 2;
    const there = isMatrix && !options.dequantise ? packedForm(dtype) : null;
    const form = there ?? (isMatrix ? formOf(name) : null);
    const size =
      form === null
        ? frozenBytes(dtype, shape)
        : formBytes(form, shape as [number, number], there === null ? storeOptions(options) : {});
    if (form !== null) forms.add(form);
    bytes += size;
    largest = Math.max(largest, size);
  }
  return { bytes, largest, forms };
}
