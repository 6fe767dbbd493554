/// <reference types="@webgpu/types" />
/**
 * @file Frozen matrices that lie as their file has them, in 16 bits: float32 in name and in all that is computed, half of it in memory.
 *
 * What knows of it (products, gathers of rows) asks for the buffer and reads bf16 or float16 on the way (wgsl/shared/stored.wgsl). Whatever else reads such a
 * tensor, tfjs's kernels and the host too, is given it in float32, converted for that one time: both types are exact in float32, so the numbers are the same.
 * Arithmetic in 16 bits would need `shader-f16`, which many adapters lack, and round what is computed.
 */
import type * as tf from '@tensorflow/tfjs';
import type { Constants, Pipeline } from './pipelines.js';

/** Types of 16 bits, by what shaders call them. */
const CODES = { BF16: 1, F16: 2 } as const;
export type HalfType = keyof typeof CODES;
/** How a tensor's numbers lie, as shaders are told: 0 is float32. */
export type StoredCode = 0 | (typeof CODES)[HalfType];

const MOST_GROUPS = 65535;

/** What tfjs knows of a tensor. */
interface Entry {
  shape: number[];
  dtype: tf.DataType;
  resource?: unknown;
}

/** What is needed of the backend. */
interface Host {
  readonly tensorMap: { has(dataId: object): boolean; get(dataId: object): Entry };
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.BackendValues): tf.TensorInfo;
  uploadToGPU(dataId: object): void;
  disposeData(dataId: object): boolean;
  dispatch(
    shader: 'as-float32',
    constants: Constants,
    params: Uint32Array,
    bindings: readonly (tf.TensorInfo | GPUBuffer)[],
    groups: readonly [number, number],
  ): void;
}

const isTensor = (binding: object): binding is tf.TensorInfo => 'dataId' in binding;

export class Halves {
  /** By what tfjs knows of the tensor: its id may come back from another backend with numbers in float32. */
  readonly #codes = new WeakMap<object, StoredCode>();
  /** Where none was stored, nothing is looked up for each binding of each dispatch. */
  #isUsed = false;

  constructor(private readonly host: Host) {}

  /** How a tensor's numbers lie; a tensor of another backend comes here in float32. */
  codeOf({ dataId }: Pick<tf.TensorInfo, 'dataId'>): StoredCode {
    if (!this.#isUsed) return 0;
    const { tensorMap } = this.host;
    return tensorMap.has(dataId) ? (this.#codes.get(tensorMap.get(dataId)) ?? 0) : 0;
  }

  /**
   * A tensor of these bytes, uploaded at once.
   * @param bytes two for each number; may change after the call.
   * @returns owned by the caller.
   * @throws RangeError where there are not so many bytes.
   */
  store(bytes: Uint8Array, type: HalfType, shape: readonly number[]): tf.TensorInfo {
    const size = shape.reduce((product, n) => product * n, 1);
    if (size === 0 || bytes.byteLength !== 2 * size) {
      throw new RangeError(
        `a tensor [${shape}] of ${type} takes ${2 * size} bytes and at least one number, got ${bytes.byteLength} bytes`,
      );
    }
    // Whole words, of which the last may have one number.
    const words = new Int32Array(Math.ceil(size / 2));
    new Uint8Array(words.buffer).set(bytes);
    const { dataId } = this.host.makeTensorInfo([words.length], 'int32', words);
    this.host.uploadToGPU(dataId);
    const entry = this.host.tensorMap.get(dataId);
    entry.shape = [...shape];
    entry.dtype = 'float32';
    this.#codes.set(entry, CODES[type]);
    this.#isUsed = true;
    return { dataId, shape: [...shape], dtype: 'float32' };
  }

  /** A binding to a tensor as it is stored, for shaders that are told its code. */
  asStored(info: tf.TensorInfo): tf.TensorInfo | GPUBuffer {
    if (this.codeOf(info) === 0) return info;
    // A captured step notes that it uses it.
    this.host.uploadToGPU(info.dataId);
    return this.host.tensorMap.get(info.dataId).resource as GPUBuffer;
  }

  /** @throws Error for a tensor in 16 bits that a shader writes to. */
  requireReadOnly({ name, written }: Pipeline, bindings: readonly object[]): void {
    for (const binding of written) {
      const one = bindings[binding - 1]!;
      if (isTensor(one) && this.codeOf(one) !== 0) {
        throw new Error(
          `a frozen matrix [${one.shape}], stored in 16 bits, would be written to (${name}): train a copy of it, tf.mul(x, 1)`,
        );
      }
    }
  }

  /** Its numbers in a new tensor in float32, owned by the caller. */
  float32Of(dataId: object, shape: readonly number[]): tf.TensorInfo {
    const { host } = this;
    const size = shape.reduce((product, n) => product * n, 1);
    const y = host.makeTensorInfo([...shape], 'float32');
    try {
      const buffer = this.asStored({ dataId, shape: [...shape], dtype: 'float32' });
      const count = Math.ceil(size / 256);
      const groups = [Math.min(count, MOST_GROUPS), Math.ceil(count / MOST_GROUPS)] as const;
      host.dispatch(
        'as-float32',
        { STORED: this.codeOf({ dataId }) },
        new Uint32Array([size, 0, 0, 0]),
        [buffer, y],
        groups,
      );
    } catch (error) {
      host.disposeData(y.dataId);
      throw error;
    }
    return y;
  }

  /** Runs `f` with the bindings, those in 16 bits among them in float32, which end with it. */
  inFloat32<B extends object, T>(bindings: readonly B[], f: (bindings: readonly B[]) => T): T {
    if (!bindings.some((one) => isTensor(one) && this.codeOf(one) !== 0)) return f(bindings);
    const made = new Map<object, tf.TensorInfo>();
    const converted = (one: B): B => {
      if (!isTensor(one) || this.codeOf(one) === 0) return one;
      const { dataId, shape } = one;
      const known = made.get(dataId) ?? this.float32Of(dataId, shape);
      made.set(dataId, known);
      return { ...known, shape } as object as B;
    };
    try {
      return f(bindings.map(converted));
    } finally {
      for (const { dataId } of made.values()) this.host.disposeData(dataId);
    }
  }
}
