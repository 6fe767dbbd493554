/** @file A tensor of adapter_model.safetensors that is to be written. */

/** A tensor to be written; `data` reads it from the device when its turn comes. */
export interface AdapterTensor {
  readonly dtype: 'F32' | 'BF16';
  readonly shape: readonly number[];
  readonly data: () => Promise<Float32Array>;
}
