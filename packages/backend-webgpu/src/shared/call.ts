/** @file What kernels have in common: outputs, room for a while, parameters, and shaders with a thread for each element. */
import type { KernelName, SpftKernelCall } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import type { Binding, Groups, SpftWebGPUBackend } from '../device/backend.js';
import type { Constants } from '../device/pipelines.js';
import type { ShaderName } from '../shaders.generated.js';

export type Backend = SpftWebGPUBackend;
export type Call<Name extends KernelName> = SpftKernelCall<Name, SpftWebGPUBackend>;
type Info = tf.TensorInfo;

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Rows and columns of a matrix. */
export const dimensions = ({ shape }: Info): [rows: number, columns: number] => shape as [number, number];

/** A new tensor that belongs to the caller. Its memory is as it was left. */
export function output(backend: Backend, shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): Info {
  // tfjs has the values of an empty tensor on the host, where there is something to have.
  const values = sizeOf(shape) === 0 ? (dtype === 'int32' ? new Int32Array(0) : new Float32Array(0)) : undefined;
  return backend.makeTensorInfo([...shape], dtype, values);
}

/** Runs `f` with tensors that end with it. Where it throws, whoever registered the kernel gives back what it took. */
export function withScratch<T>(backend: Backend, sizes: readonly number[], f: (...scratch: Info[]) => T): T {
  const scratch = sizes.map((size) => output(backend, [Math.max(1, size)]));
  const result = f(...scratch);
  for (const { dataId } of scratch) backend.disposeData(dataId);
  return result;
}

const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

/** The word of a parameter that is a float. */
export function f32(x: number): number {
  FLOAT[0] = x;
  return BITS[0]!;
}

/** Parameters as a uniform buffer has them: whole numbers, and floats by `f32`. */
export function words(...params: number[]): Uint32Array {
  // A struct's size in a uniform buffer is a multiple of 4 words at most.
  const padded = new Uint32Array(Math.ceil(params.length / 4) * 4);
  padded.set(params);
  return padded;
}

const MOST_GROUPS = 65535;

/** So many workgroups, in as few rows as there may be. */
export const groupsFor = (count: number): Groups => [Math.min(count, MOST_GROUPS), Math.ceil(count / MOST_GROUPS)];

/** Runs a shader of 256 elements a workgroup; its parameters begin with `size`. */
export function forEach(
  backend: Backend,
  shader: ShaderName,
  [size, ...params]: readonly [size: number, ...others: number[]],
  bindings: readonly Binding[],
  constants: Constants = {},
): void {
  if (size > 0) backend.dispatch(shader, constants, words(size, ...params), bindings, groupsFor(Math.ceil(size / 256)));
}

/** Lanes of a workgroup that adds up a row of so many numbers. */
export const lanesFor = (width: number): number => (width > 2048 ? 256 : width > 256 ? 128 : 64);
