/**
 * @file How tensors in a stored form become plain numbers, by their physical type. Apart from the forms themselves (form.ts), which know the backend: the
 * backend asks here, so that reading, converting and every kernel that knows nothing of forms can be given one.
 */
import type * as tf from '@tensorflow/tfjs';
import type { Kernel } from '../device/kernel.js';
import type { Dimensions } from '../device/launch.js';
import type { Codebook, Physical } from '../storage.js';

/** What unpacking needs of the backend. */
export interface UnpackingHost {
  address(info: tf.TensorInfo): number;
  codebook(info: tf.TensorInfo): Codebook | null;
  kernel(file: string, entry: string, parameters: string, defines?: Readonly<Record<string, string | number>>): Kernel;
  launch(kernel: Kernel, grid: Dimensions, block: Dimensions, args: readonly number[]): void;
}

export interface Unpacking {
  /** Writes the numbers of `from` to `to` in element type `physical`, which is f32 or bf16. */
  unpack(host: UnpackingHost, from: tf.TensorInfo, to: number, physical: Physical): void;
}

const unpackings = new Map<Physical, Unpacking>();

export function registerUnpacking(physical: Physical, unpacking: Unpacking): void {
  unpackings.set(physical, unpacking);
}

/** Of a stored form; nothing for plain types. */
export const unpackingOf = (physical: Physical): Unpacking | undefined => unpackings.get(physical);
