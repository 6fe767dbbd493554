/**
 * @file Matrices in codes of 4 bits unpacked on wasm: scales by a loop, as there is one for 64 numbers, and numbers by SIMD, sixteen at a time; kept rows as their
 * codes lie.
 */
import type * as tf from '@tensorflow/tfjs';
import type { KernelInputsOf } from '../../contract/kernels.js';
import type { Packed4bitAttributes } from '../../contract/layers.js';
import { type PackedViews, roundInPlace, writeScales } from '../../forms/unpack-blocks.js';
import type { SimdCall, SimdRun } from './module.js';

const PARTS = ['codes', 'map', 'absmax', 'absmaxCodes', 'nestedAbsmax', 'nestedMap'] as const;

/** Valid until something allocates. */
const viewsOf = (
  call: SimdCall,
  inputs: Readonly<Partial<Record<(typeof PARTS)[number], tf.TensorInfo>>>,
): PackedViews =>
  Object.fromEntries(
    PARTS.flatMap((part) => (inputs[part] ? [[part, call.values(inputs[part])]] : [])),
  ) as unknown as PackedViews;

type Inputs = KernelInputsOf<'SpftUnpack4bit'>;

/** Places of codes and scales of whole rows. */
function unpackRows(
  call: SimdCall,
  inputs: Inputs,
  attributes: Packed4bitAttributes,
  y: tf.TensorInfo,
  indices: tf.TensorInfo | null,
): tf.TensorInfo {
  const { in: columns, blockSize } = attributes;
  const rows = y.shape[0]!;
  const blocks = columns / blockSize;
  // A tensor made on another backend moves here when first looked at, which may allocate: so all are looked at before a view is taken.
  viewsOf(call, inputs);
  if (indices) call.at(indices);
  const scales = call.scratch(Math.max(1, rows * blocks));
  const views = viewsOf(call, inputs);
  const memory = views.codes.buffer;
  const to = new Float32Array(memory, scales, rows * blocks);
  const [codes, map, at] = [call.at(inputs.codes), call.at(inputs.map), call.at(y)];
  if (!indices) {
    writeScales(views, attributes, 0, rows * blocks, to, 0);
    call.module.unpack4bit(0, rows, codes, map, scales, at, columns, blockSize);
  } else {
    const index = call.values(indices);
    for (let row = 0; row < rows; row++) {
      writeScales(views, attributes, index[row]! * blocks, blocks, to, row * blocks);
      const from = [
        codes + (index[row]! * columns) / 2,
        map,
        scales + 4 * row * blocks,
        at + 4 * row * columns,
      ] as const;
      call.module.unpack4bit(0, 1, ...from, columns, blockSize);
    }
  }
  roundInPlace(call.values(y) as Float32Array, attributes);
  return y;
}

export const unpack4bit: SimdRun<'SpftUnpack4bit'> = (call, inputs, attributes) =>
  unpackRows(call, inputs as Inputs, attributes, call.output([attributes.out, attributes.in]), null);

export const unpack4bitRows: SimdRun<'SpftUnpack4bitRows'> = (call, { indices, ...inputs }, attributes) =>
  unpackRows(call, inputs as Inputs, attributes, call.output([indices.shape[0]!, attributes.in]), indices);

export const unpack4bitColumns: SimdRun<'SpftUnpack4bitColumns'> = (call, { indices, ...packed }, attributes) => {
  const { out, in: columns, blockSize } = attributes;
  const inputs = packed as Inputs;
  const kept = indices.shape[0]!;
  const y = call.output([out, kept]);
  viewsOf(call, inputs);
  call.at(indices);
  const blocks = (out * columns) / blockSize;
  const scales = call.scratch(Math.max(1, blocks));
  const views = viewsOf(call, inputs);
  writeScales(views, attributes, 0, blocks, new Float32Array(views.codes.buffer, scales, blocks), 0);
  const places = [call.at(inputs.codes), call.at(inputs.map), scales, call.at(indices), call.at(y)] as const;
  call.module.unpack4bitColumns(0, out, ...places, columns, kept, Math.log2(blockSize));
  roundInPlace(call.values(y) as Float32Array, attributes);
  return y;
};
