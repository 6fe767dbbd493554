/**
 * @file Matrices in codes of 4 bits (NF4, FP4): unpacked by all threads, sixteen numbers at a time, into the shared memory, where BLAS multiplies by them. Codes are
 * bytes, which tensors of the shared memory are not, so those that are wanted are copied in first: half a byte a number, where eight times as much is written.
 */
import type { Packed4bitAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { backward, forward } from '../project/frozen-product.js';

type Part = 'codes' | 'map' | 'absmax' | 'absmaxCodes' | 'nestedAbsmax' | 'nestedMap';
type Packed = Readonly<Partial<Record<Part, tf.TensorInfo>>>;

const f = Math.fround;

/** Bytes of a tensor of them. */
const bytesOf = (call: Call, info: tf.TensorInfo): Uint8Array => call.backend.values(info) as unknown as Uint8Array;

/** Scratch for so many numbers of 4 bytes, which may be none. */
const room = (call: Call, numbers: number): Place => call.scratch(Math.max(1, Math.ceil(numbers)));

/** Writes scales of `count` blocks from `first` on. */
function scaleWriter(call: Call, inputs: Packed, { offset, nestedBlockSize }: Packed4bitAttributes) {
  const { absmax, absmaxCodes, nestedAbsmax, nestedMap } = inputs;
  if (absmax) {
    const values = call.values(absmax);
    return (first: number, count: number, to: Float32Array, at: number) =>
      to.set(values.subarray(first, first + count), at);
  }
  const [codes, scales, map] = [bytesOf(call, absmaxCodes!), call.values(nestedAbsmax!), call.values(nestedMap!)];
  return (first: number, count: number, to: Float32Array, at: number) => {
    for (let b = first; b < first + count; b++) {
      to[at + b - first] = f(f(map[codes[b]!]! * scales[Math.floor(b / nestedBlockSize)]!) + offset);
    }
  };
}

/** Codes and scales of rows, the whole matrix's where `rows` is null, in the shared memory until the call ends. */
function stage(call: Call, inputs: Packed, attributes: Packed4bitAttributes, rows: ArrayLike<number> | null) {
  const { out, in: columns, blockSize } = attributes;
  const [count, blocks, width] = [rows?.length ?? out, columns / blockSize, columns / 2];
  const [codes, scales] = [room(call, (count * width) / 4), room(call, count * blocks)];
  const from = bytesOf(call, inputs.codes!);
  const toScales = call.backend.heap.f32(scales, count * blocks);
  const toCodes = new Uint8Array(toScales.buffer, codes, count * width);
  const write = scaleWriter(call, inputs, attributes);
  if (rows === null) {
    toCodes.set(from);
    write(0, count * blocks, toScales, 0);
  } else {
    for (let n = 0; n < count; n++) {
      const row = rows[n]!;
      toCodes.set(from.subarray(row * width, (row + 1) * width), n * width);
      write(row * blocks, blocks, toScales, n * blocks);
    }
  }
  return { codes, scales, map: call.at(inputs.map!), count };
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** To the nearest, ties to even, as `dtype` has them: of weights that came in 16 bits and are taken out as such. */
function round(values: Float32Array, { dtype }: Packed4bitAttributes): void {
  if (dtype === 'F32') return;
  for (let n = 0; n < values.length; n++) values[n] = dtype === 'BF16' ? toBf16(values[n]!) : toF16(values[n]!);
}

function toBf16(x: number): number {
  single[0] = x;
  const word = bits[0]!;
  if ((word & 0x7f800000) !== 0x7f800000) bits[0] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  return single[0]!;
}

function toF16(x: number): number {
  const size = Math.abs(x);
  if (!(size < 65520)) return Number.isNaN(x) ? x : Math.sign(x) * Number.POSITIVE_INFINITY;
  single[0] = size;
  const far = 1.5 * 2 ** (42 + Math.max((bits[0]! >>> 23) - 127, -14));
  const rounded = size + far - far;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

/** Writes rows, all where `rows` is null, as numbers. */
function unpackTo(
  call: Call,
  inputs: Packed,
  attributes: Packed4bitAttributes,
  rows: ArrayLike<number> | null,
  to: Place,
): void {
  const { in: columns, blockSize } = attributes;
  const { codes, scales, map, count } = stage(call, inputs, attributes, rows);
  call.share('unpack4bit', count, columns, codes, map, scales, to, columns, blockSize);
  round(call.backend.heap.f32(to, count * columns), attributes);
}

export const unpack4bit: BlasKernel<'SpftUnpack4bit'> = (call, inputs, attributes) => {
  const y = call.output([attributes.out, attributes.in]);
  unpackTo(call, inputs, attributes, null, call.at(y));
  return y;
};

export const unpack4bitRows: BlasKernel<'SpftUnpack4bitRows'> = (call, { indices, ...inputs }, attributes) => {
  const y = call.output([indices.shape[0]!, attributes.in]);
  unpackTo(call, inputs, attributes, call.values(indices), call.at(y));
  return y;
};

export const unpack4bitColumns: BlasKernel<'SpftUnpack4bitColumns'> = (call, { indices, ...inputs }, attributes) => {
  const { out, in: columns, blockSize } = attributes;
  const kept = indices.shape[0]!;
  const y = call.output([out, kept]);
  const { codes, scales, map } = stage(call, inputs, attributes, null);
  const places = [codes, map, scales, call.at(indices), call.at(y)] as const;
  call.share('unpack4bitColumns', out, kept, ...places, columns, kept, Math.log2(blockSize));
  round(call.backend.heap.f32(call.at(y), out * kept), attributes);
  return y;
};

/** The whole matrix in scratch. */
function whole(call: Call, inputs: Packed, attributes: Packed4bitAttributes): Place {
  const place = room(call, attributes.out * attributes.in);
  unpackTo(call, inputs, attributes, null, place);
  return place;
}

export const linear4bit: BlasKernel<'SpftLinear4bit'> = (call, { x, ...inputs }, attributes) =>
  forward(call, x, call.pool.native(whole(call, inputs, attributes)), attributes.out, null);

export const linear4bitGrad: BlasKernel<'SpftLinear4bitGrad'> = (call, { dy, ...inputs }, attributes) =>
  backward(call, dy, call.pool.native(whole(call, inputs, attributes)), attributes.in);
