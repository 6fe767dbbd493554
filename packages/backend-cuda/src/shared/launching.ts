/** @file What launches have in common: sizes of grids, alignment, host scalars as results, kernels that call other kernels. */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, type CudaBackend } from '../backend.js';
import { BYTES, type Physical } from '../storage.js';

/** Threads of a block of an elementwise kernel. */
export const THREADS = 256;
/** Blocks from which on a grid-stride loop goes round: enough for any GPU to be full. */
const MOST_BLOCKS = 16384;

/** Blocks for `work` threads. */
export const blocksFor = (work: number, threads = THREADS): number => Math.min(MOST_BLOCKS, Math.ceil(work / threads));

/** Neighbours that an elementwise kernel handles at a time. */
export const PACK = 8;

/** Whether a pack of eight may be loaded at `address`. */
export const packAligned = (address: number, physical: Physical): boolean =>
  address % Math.min(16, PACK * BYTES[physical]) === 0;

/** Leading packs of tensors of `size` elements: none where one of the addresses is not aligned. */
export function packsOf(
  size: number,
  ...operands: readonly (readonly [address: number, physical: Physical])[]
): number {
  return operands.every(([address, physical]) => packAligned(address, physical)) ? Math.floor(size / PACK) : 0;
}

/** Physical type of a result that is computed from `inputs`: bf16 where all of them are, else what its dtype says. */
export function resultPhysical(
  backend: CudaBackend,
  dtype: tf.DataType,
  ...inputs: readonly tf.TensorInfo[]
): Physical {
  if (dtype === 'float32') return inputs.every((input) => backend.physical(input) === 'bf16') ? 'bf16' : 'f32';
  return dtype === 'int32' ? 'i32' : 'u8';
}

/** A tensor of one element whose value stays on the host until a kernel wants its address. Owned by the caller. */
export function hostTensor(
  backend: CudaBackend,
  value: number,
  shape: readonly number[],
  dtype: tf.DataType,
): tf.TensorInfo {
  const stored = dtype === 'float32' ? Math.fround(value) : dtype === 'int32' ? value | 0 : value & 255;
  // Backends take plain arrays, as tf.tensor hands them over, though the type has only typed ones.
  const values = [stored] as unknown as tf.BackendValues;
  return { dataId: backend.write(values, [...shape], dtype), shape: [...shape], dtype };
}

/** Runs another kernel of this backend; its result is owned by the caller. */
export function callKernel(
  backend: CudaBackend,
  kernelName: string,
  inputs: Record<string, tf.TensorInfo>,
  attributes: object = {},
): tf.TensorInfo {
  const kernel = tf.getKernel(kernelName, BACKEND_NAME);
  if (!kernel) throw new Error(`internal: backend cuda has no kernel ${kernelName}`);
  return kernel.kernelFunc({ inputs, backend, attrs: attributes as tf.NamedAttrMap }) as tf.TensorInfo;
}
