/**
 * @file What a tensor of this backend is physically.
 *
 * Its dtype in tfjs is nominal: a `float32` tensor lies on the device as float or as bf16, as the op that made it says, like WebGL's half
 * floats. Reading it back gives floats either way.
 */
import type * as tf from '@tensorflow/tfjs';
import type { Block } from './device/memory.js';

/** Element type on the device. */
export type Physical = 'f32' | 'bf16' | 'i32' | 'u8';

export const BYTES: Readonly<Record<Physical, number>> = { f32: 4, bf16: 2, i32: 4, u8: 1 };

/** The C++ type of `spft.cuh`. */
export const C_TYPE: Readonly<Record<Physical, string>> = { f32: 'float', bf16: 'bf16', i32: 'int', u8: 'u8' };

export interface TensorData {
  /** How often tfjs's tensors refer to it. */
  references: number;
  readonly dtype: tf.DataType;
  readonly physical: Physical;
  readonly elements: number;
  /** Null for strings, and for a value that was not wanted on the device yet. */
  block: Block | null;
  /** Where in the block it begins, in bytes. */
  readonly offset: number;
  /** A single number that came from the host and is passed to kernels by value; or strings. */
  readonly host: readonly number[] | Uint8Array[] | null;
  /** What was computed from it and is kept with it, by name (`CudaBackend.derived`). */
  derived?: Map<string, Block>;
}

export function physicalOf(dtype: tf.DataType): Physical {
  switch (dtype) {
    case 'float32':
      return 'f32';
    case 'int32':
      return 'i32';
    case 'bool':
      return 'u8';
    default:
      throw new TypeError(`backend cuda: tensors of ${dtype} are not supported; float32, int32 and bool are`);
  }
}

/** bf16 numbers as floats. */
export function widen(values: Uint16Array): Float32Array {
  const bits = new Uint32Array(values.length);
  for (let n = 0; n < values.length; n++) bits[n] = values[n]! << 16;
  return new Float32Array(bits.buffer);
}
