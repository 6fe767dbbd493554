/**
 * @file Matrices in codes of 4 bits unpacked by loops: whole, or kept rows or columns. The composition widens the codes to int32 and gathers pairs, for eight
 * times the memory that the result takes.
 */

import { roundingTo } from '../../forms/rounding.js';
import { type PackedViews, scaleOf, unpackBlocks } from '../../forms/unpack-blocks.js';
import type { HostArray, HostKernel } from './host-kernel.js';

const views = (inputs: object) => inputs as PackedViews;

export const unpack4bitOnHost: HostKernel<'SpftUnpack4bit'> = {
  backends: ['cpu', 'wasm'],
  outputs: (_, { out, in: inputs }) => ({ shape: [out, inputs], dtype: 'float32' }),
  run: (inputs, [y], attributes) => {
    const blocks = (attributes.out * attributes.in) / attributes.blockSize;
    unpackBlocks(views(inputs), attributes, 0, blocks, y as Float32Array, 0);
  },
};

export const unpack4bitRowsOnHost: HostKernel<'SpftUnpack4bitRows'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ indices }, { in: inputs }) => ({ shape: [indices.shape[0]!, inputs], dtype: 'float32' }),
  run: (inputs, [y], attributes) => {
    const blocks = attributes.in / attributes.blockSize;
    const indices = inputs.indices as HostArray;
    for (let n = 0; n < indices.length; n++) {
      unpackBlocks(views(inputs), attributes, indices[n]! * blocks, blocks, y as Float32Array, n * attributes.in);
    }
  },
};

export const unpack4bitColumnsOnHost: HostKernel<'SpftUnpack4bitColumns'> = {
  backends: ['cpu', 'wasm'],
  outputs: ({ indices }, { out }) => ({ shape: [out, indices.shape[0]!], dtype: 'float32' }),
  run: (inputs, [y], attributes) => {
    const { out, in: columns, blockSize, dtype } = attributes;
    const { codes, map } = views(inputs);
    const indices = inputs.indices as HostArray;
    const round = roundingTo(dtype);
    const blocks = columns / blockSize;
    for (let row = 0, place = 0; row < out; row++) {
      const [firstCode, firstBlock] = [(row * columns) / 2, row * blocks];
      // Indices ascend, so that a scale is looked up once a block.
      let [known, scale] = [-1, 0];
      for (let n = 0; n < indices.length; n++) {
        const column = indices[n]!;
        const block = Math.floor(column / blockSize);
        if (block !== known) {
          known = block;
          scale = scaleOf(views(inputs), attributes, firstBlock + block);
        }
        const byte = codes[firstCode + (column >> 1)]!;
        y![place++] = round(Math.fround(map[column & 1 ? byte & 15 : byte >> 4]! * scale));
      }
    }
  },
};
