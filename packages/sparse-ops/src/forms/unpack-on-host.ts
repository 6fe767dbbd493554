/** @file The numbers of a packed tensor on the host: what reading it gives. */
import type { PackedMatrix } from './four-bit.js';
import { type PackedViews, unpackBlocks } from './unpack-blocks.js';

/** All numbers, [out·in]. */
export function unpackOnHost({ tensors, attributes }: PackedMatrix): Float32Array {
  const { out, in: inputs, blockSize } = attributes;
  const arrays = Object.entries(tensors).map(([name, tensor]) => [name, tensor.dataSync()]);
  const values = new Float32Array(out * inputs);
  unpackBlocks(Object.fromEntries(arrays) as PackedViews, attributes, 0, values.length / blockSize, values, 0);
  return values;
}
