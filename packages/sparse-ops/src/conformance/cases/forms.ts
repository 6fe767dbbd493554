/** @file Matrices in codes of 4 bits: quantised, unpacked, multiplied by, and in a backend's own form. */
import * as tf from '@tensorflow/tfjs';
import type { FourBitType, Packed4bitAttributes, StoredType } from '../../contract/layers.js';
import { runKernel } from '../../engine/op.js';
import { DYNAMIC_MAP } from '../../forms/code-books.js';
import {
  linear4bit,
  type PackedMatrix,
  type PackedTensors,
  unpack4bit,
  unpack4bitColumns,
  unpack4bitRows,
} from '../../forms/four-bit.js';
import {
  bookOf,
  type PackedArrays,
  quantise4bitReference,
  quantiseScalesReference,
  unpack4bitReference,
} from '../../forms/four-bit.reference.js';
import { packedTensor, partsOf } from '../../forms/packed-tensor.js';
import { linearReference } from '../../project/linear.reference.js';
import { product } from '../../project/lora-linear.reference.js';
import {
  bytes,
  type CaseInput,
  type ConformanceCase,
  float,
  given,
  int32,
  matrix,
  type Numbers,
  someOf,
  type Tensors,
  vector,
} from '../case.js';
import { normals } from '../numbers.js';

interface Kind {
  readonly T: number;
  readonly out: number;
  readonly inputs: number;
  readonly type: FourBitType;
  readonly blockSize: number;
  readonly isNested: boolean;
  readonly dtype: StoredType;
}

const KINDS: readonly Kind[] = [
  { T: 3, out: 5, inputs: 64, type: 'nf4', blockSize: 64, isNested: false, dtype: 'F32' },
  { T: 1, out: 33, inputs: 192, type: 'nf4', blockSize: 64, isNested: true, dtype: 'BF16' },
  // More blocks than share a scale of scales.
  { T: 40, out: 96, inputs: 256, type: 'nf4', blockSize: 64, isNested: true, dtype: 'F32' },
  { T: 9, out: 16, inputs: 128, type: 'fp4', blockSize: 128, isNested: false, dtype: 'F16' },
  { T: 17, out: 40, inputs: 96, type: 'fp4', blockSize: 32, isNested: true, dtype: 'BF16' },
  { T: 0, out: 3, inputs: 64, type: 'nf4', blockSize: 64, isNested: false, dtype: 'BF16' },
];

/** A matrix of weights' size with a block of zeros, in codes. */
function packedInputs({ out, inputs, type, blockSize, isNested, dtype }: Kind) {
  const values = normals(out * inputs, 7).map((x, n) => (n < blockSize ? 0 : 0.05 * x));
  const { codes, absmax } = quantise4bitReference(values, type, blockSize);
  const nested = isNested ? quantiseScalesReference(absmax) : null;
  const attributes: Packed4bitAttributes = {
    ...{ out, in: inputs, blockSize, dtype, nestedBlockSize: nested ? 256 : 0, offset: nested?.offset ?? 0 },
  };
  const scales: Record<string, CaseInput> = nested
    ? {
        absmaxCodes: bytes(nested.codes),
        nestedAbsmax: given([nested.absmax.length], [...nested.absmax]),
        nestedMap: given([256], [...DYNAMIC_MAP]),
      }
    : { absmax: given([absmax.length], [...absmax]) };
  return { attributes, tensors: { codes: bytes(codes), map: given([16], bookOf(type)), ...scales } };
}

const PARTS = ['codes', 'map', 'absmax', 'absmaxCodes', 'nestedAbsmax', 'nestedMap'] as const;

function ofKind(kind: Kind): ConformanceCase[] {
  const { T, out, inputs, type, blockSize, isNested, dtype } = kind;
  const { attributes, tensors } = packedInputs(kind);
  const [rows, columns] = [someOf(out), someOf(inputs)];
  const about = `[${out}, ${inputs}] in ${type} by ${blockSize}, from ${dtype}${isNested ? ', double quantised' : ''}`;
  const packed = (t: Tensors): PackedMatrix => {
    const there = PARTS.flatMap((name) => (t[name] ? [[name, t[name]] as const] : []));
    return { type, attributes, tensors: Object.fromEntries(there) as unknown as PackedTensors };
  };
  const whole = (v: Numbers) => unpack4bitReference(v as unknown as PackedArrays, attributes);
  /** A tensor of it, which ends with `f`. */
  const withTensor = (t: Tensors, f: (x: tf.Tensor2D) => tf.Tensor[]) => {
    const { tensors } = packed(t);
    const copies = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tf.clone(tensor)]));
    const x = packedTensor({ type, attributes, tensors: copies as unknown as PackedTensors });
    try {
      return f(x);
    } finally {
      x.dispose();
    }
  };
  return [
    {
      name: `unpack4bit() of ${about}`,
      kernels: ['SpftUnpack4bit'],
      inputs: tensors,
      run: (t) => [unpack4bit(packed(t))],
      expected: (v) => [whole(v)],
    },
    {
      name: `unpack4bitRows() of ${about}`,
      kernels: ['SpftUnpack4bitRows'],
      inputs: { ...tensors, indices: int32(rows) },
      run: (t) => [unpack4bitRows(packed(t), vector(t.indices))],
      expected: (v) => {
        const all = whole(v);
        return [rows.flatMap((row) => [...all.subarray(row * inputs, (row + 1) * inputs)])];
      },
    },
    {
      name: `unpack4bitColumns() of ${about}`,
      kernels: ['SpftUnpack4bitColumns'],
      inputs: { ...tensors, indices: int32(columns) },
      run: (t) => [unpack4bitColumns(packed(t), vector(t.indices))],
      expected: (v) => {
        const all = whole(v);
        return [Array.from({ length: out }, (_, row) => columns.map((column) => all[row * inputs + column]!)).flat()];
      },
    },
    {
      name: `linear4bit() of ${T} rows by ${about}`,
      kernels: ['SpftLinear4bit', 'SpftLinear4bitGrad'],
      inputs: { x: float(T, inputs), ...tensors },
      run: (t) => [linear4bit(matrix(t.x), packed(t))],
      expected: (v) => [linearReference(v.x!, whole(v), null, T, inputs, out)],
      gradients: (v, [dy]) => ({ x: product(dy!, whole(v), T, out, inputs) }),
    },
    {
      name: `packedTensor() of ${about}`,
      kernels: ['SpftStore4bit'],
      inputs: tensors,
      run: (t) => withTensor(t, (x) => [tf.tensor(x.dataSync(), x.shape)]),
      expected: (v) => [whole(v)],
    },
    {
      name: `partsOf() of ${about}`,
      kernels: ['SpftParts4bit'],
      inputs: tensors,
      run: (t) => withTensor(t, (x) => Object.values(partsOf(x, { type, attributes }).tensors)),
      expected: (v) => PARTS.flatMap((name) => (v[name] ? [v[name]] : [])),
    },
    {
      name: `quantise4bit() of [${out}, ${inputs}] to ${type} by ${blockSize}`,
      kernels: ['SpftQuantise4bit'],
      inputs: { x: float(out, inputs) },
      run: ({ x }) => runKernel('SpftQuantise4bit', { x: x! }, { type, blockSize }),
      expected: ({ x }) => {
        const { codes, absmax } = quantise4bitReference(x!, type, blockSize);
        return [codes, absmax];
      },
    },
  ];
}

export const formCases: readonly ConformanceCase[] = KINDS.flatMap(ofKind);
