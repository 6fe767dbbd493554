/** @file What collectives and shards need of the backend. */
import type * as tf from '@tensorflow/tfjs';
import type { Block } from '../device/block.js';
import type { Device } from '../device/device.js';
import type { Kernel } from '../device/kernel.js';
import type { Dimensions } from '../device/launch.js';
import type { Memory } from '../device/memory.js';
import type { Codebook, Gathered, Physical, TensorData, TensorStore } from '../storage.js';

export interface CollectiveHost {
  readonly device: Device;
  readonly memoryPool: Memory;
  readonly data: TensorStore;
  /** Element type of frozen matrices. */
  readonly weightType: 'bf16' | 'f32';
  address(info: tf.TensorInfo): number;
  physical(info: tf.TensorInfo): Physical;
  hostScalar(info: tf.TensorInfo): number | null;
  isSoleUser(info: tf.TensorInfo): boolean;
  output(shape: readonly number[], dtype?: tf.DataType, physical?: Physical): tf.TensorInfo;
  release(info: tf.TensorInfo): void;
  copy(from: number, to: number, bytes: number): void;
  convert(from: tf.TensorInfo, to: number, physical: Physical): void;
  uploadTo(address: number, values: ArrayBufferView): void;
  scratch<T>(bytes: number, f: (address: number) => T): T;
  kernel(file: string, entry: string, parameters: string, defines?: Readonly<Record<string, string | number>>): Kernel;
  launch(kernel: Kernel, grid: Dimensions, block: Dimensions, args: readonly number[]): void;
  setCodebook(info: tf.TensorInfo, codebook: Codebook): void;
  gatheredTensor(shape: readonly number[], like: TensorData, block: Block, gathered: Gathered): tf.TensorInfo;
}
