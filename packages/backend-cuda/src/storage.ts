/**
 * @file What a tensor of this backend is physically.
 *
 * Its dtype in tfjs is nominal: a `float32` tensor lies on the device as float or as bf16, as the op that made it says, like WebGL's half
 * floats. Reading it back gives floats either way.
 */
import type * as tf from '@tensorflow/tfjs';
import type { Block } from './device/block.js';

/** Element type on the device; `e4m3` and `u4`, of which a byte has two, are stored forms (forms/): codes, which mean something with scales. */
export type Physical = 'f32' | 'bf16' | 'i32' | 'u8' | 'e4m3' | 'u4';

export const BYTES: Readonly<Record<Physical, number>> = { f32: 4, bf16: 2, i32: 4, u8: 1, e4m3: 1, u4: 0.5 };

/** The C++ type of `spft.cuh`. */
export const C_TYPE: Readonly<Record<Physical, string>> = {
  f32: 'float',
  bf16: 'bf16',
  i32: 'int',
  u8: 'u8',
  e4m3: 'e4m3',
  u4: 'u8',
};

/** Those of plain numbers. */
export const PLAIN_C_TYPES = [C_TYPE.f32, C_TYPE.bf16, C_TYPE.i32, C_TYPE.u8];

/** What a tensor in a stored form has beside its codes; its form knows more of it. */
export interface Codebook {
  /** On the device. */
  readonly block: Block;
}

/** Who brings the values of a tensor to its memory before they are used: matrices of which this process holds a part (sharding/). */
export interface Gathered {
  /** What the backend's stream is asked for from now on finds them there, until others take their place. */
  ensure(): void;
}

/** How a tensor comes to its values, which is not done before somebody wants them (`CudaBackend.later` and `finishLater`). */
export interface Later {
  /** What it is, to who can do without its values. */
  readonly recipe: object;
  /** Writes them, or what is missing of them. */
  make(address: number): void;
  /** Gives back what it is made of: it was made, or it is gone. */
  end(): void;
}

/** What is known of a tensor. It is its own `dataId`, so that to find it costs nothing. */
export class TensorData {
  /** What was computed from it and is kept with it, by name (`CudaBackend.derived`). */
  derived: Map<string, Block> | null = null;
  /** Of a tensor in a stored form. */
  codebook: Codebook | null = null;
  gathered: Gathered | null = null;
  /** Of a tensor that is still to be made. */
  later: Later | null = null;
  alive = true;

  constructor(
    readonly dtype: tf.DataType,
    readonly physical: Physical,
    readonly elements: number,
    /** Null for strings, and for values that were not wanted on the device yet. */
    public block: Block | null,
    /** Where in the block it begins, in bytes. */
    readonly offset: number,
    /** A single number that came from the host and is passed to kernels by value; or strings. */
    readonly host: readonly number[] | Uint8Array[] | null = null,
    /** How often tfjs's tensors refer to it. */
    public references = 1,
  ) {}
}

/** The tensor's memory under a name of its own, for who reads it though it may be disposed of meanwhile: a user of the blocks, which it must hold. */
export function heldMemory({
  dtype,
  physical,
  elements,
  block,
  offset,
  host,
  codebook,
  gathered,
}: TensorData): TensorData {
  const held = new TensorData(dtype, physical, elements, block, offset, host);
  held.codebook = codebook;
  held.gathered = gathered;
  return held;
}

/** Bytes that a tensor takes on the device. */
export const bytesOf = ({ elements, physical }: TensorData): number => elements * BYTES[physical];

/** The tensors of the backend. Those that moved here from another backend keep the dataId that they had. */
export class TensorStore {
  readonly #moved = new WeakMap<tf.DataId, TensorData>();
  /** Living tensors. */
  count = 0;
  /** Those among them that are in a stored form. */
  packed = 0;

  /** @returns the dataId. */
  add(data: TensorData): tf.DataId {
    this.count++;
    return data;
  }

  adopt(dataId: tf.DataId, data: TensorData): void {
    this.count++;
    this.#moved.set(dataId, data);
  }

  get(dataId: tf.DataId): TensorData {
    return dataId instanceof TensorData ? dataId : this.#moved.get(dataId)!;
  }

  has(dataId: tf.DataId): boolean {
    return this.get(dataId)?.alive ?? false;
  }

  /** What is known of a tensor that is gone stays known for as long as somebody has its id: so that who uses it can be told. */
  delete(dataId: tf.DataId): void {
    const data = this.get(dataId);
    data.alive = false;
    if (data.codebook) this.packed--;
    this.count--;
  }
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

/** The dtype that an element type is stored for. */
export const dtypeOf = (physical: Physical): tf.DataType =>
  physical === 'i32' ? 'int32' : physical === 'u8' ? 'bool' : 'float32';

/** Values from the host as the array that their dtype has there. */
export function typedArray(
  values: tf.BackendValues | readonly number[],
  dtype: tf.DataType,
): Float32Array | Int32Array | Uint8Array {
  switch (dtype) {
    case 'float32':
      return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
    case 'int32':
      return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
    default:
      return values instanceof Uint8Array ? values : Uint8Array.from(values as ArrayLike<number>);
  }
}
