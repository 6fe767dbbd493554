/**
 * @file Frozen matrices in codes of four bits (NF4 and FP4 of QLoRA), half a byte a number and scales of blocks of them (four-bit-parts.ts). What kept rows and
 * columns are gathered from are the codes, and plain numbers are written. Products with few rows of activations read the codes themselves; with many they run
 * on the whole matrix in bf16, unpacked into memory that is given back at once: 35 µs on an H200 for 59 million numbers, beside 180 for a product with 1,024
 * rows, and one such matrix at a time.
 */
import type { Packed4bitAttributes, StoredType } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { combinations, declareVariants, FLOATS } from '../shared/variants.js';
import { C_TYPE, type Physical } from '../storage.js';
import { belowEachOther, registerForm, type StoredForm } from './form.js';
import { codebookFrom, codebookOf, type FourBitCodebook, type Parts } from './four-bit-parts.js';
import { multiplyPlain, type PlainRows, plainRows } from './plain.js';
import { registerUnpacking } from './unpacking.js';

/** What a thread of the kernels unpacks at a time: all of one block. */
const NUMBERS_A_THREAD = 8;
/** Loads of kernels are of 16 bytes of codes at most. */
const CODES_ALIGNMENT = 16;

/**
 * The matrix [out, in] of these parts; owned by the caller. Its codes are the memory of the given ones.
 * @throws CudaOutOfMemoryError.
 */
export function fourBitMatrix(backend: CudaBackend, parts: Parts, attributes: Packed4bitAttributes): TensorInfo {
  const { out, in: inputs } = attributes;
  const codebook = codebookFrom(backend, parts, attributes);
  try {
    const matrix = matrixOf(backend, parts.codes, [out, inputs]);
    backend.setCodebook(matrix, codebook);
    return matrix;
  } finally {
    backend.memoryPool.release(codebook.block);
  }
}

function matrixOf(backend: CudaBackend, codes: TensorInfo, shape: readonly [number, number]): TensorInfo {
  const address = backend.address(codes);
  const { block, offset } = backend.data.get(codes.dataId);
  if (address % CODES_ALIGNMENT === 0) return backend.tensorIn(block!, offset, shape, 'u4');
  const matrix = backend.output(shape, 'float32', 'u4');
  backend.copy(address, backend.address(matrix), (shape[0] * shape[1]) / 2);
  return matrix;
}

/** What numbers are rounded to before they are written as `to`: nothing where that rounds them likewise. */
function numbersOf(dtype: StoredType, to: Physical): 0 | 1 | 2 {
  if (dtype === 'F16') return 2;
  return dtype === 'BF16' && to === 'f32' ? 1 : 0;
}

const definesOf = (dtype: StoredType, to: Physical) => ({ TO: C_TYPE[to], NUMBERS: numbersOf(dtype, to) });

registerUnpacking('u4', {
  unpack(host, from, to, physical) {
    const { block, attributes } = host.codebook(from) as FourBitCodebook;
    const units = (attributes.out * attributes.in) / NUMBERS_A_THREAD;
    if (units === 0) return;
    const kernel = host.kernel('unpack-4bit', 'unpack_4bit', 'pppl', definesOf(attributes.dtype, physical));
    const args = [host.address(from), block.address, to, units];
    host.launch(kernel, [Math.min(8192, Math.ceil(units / 1024))], [256], args);
  },
});

/** Writes rows `indices` of a matrix to `to`, in element type `physical`. */
function unpackRows(backend: CudaBackend, weight: TensorInfo, indices: TensorInfo, to: number, physical: Physical) {
  const { block, attributes } = codebookOf(backend, weight);
  const [kept, units] = [indices.shape[0]!, attributes.in / NUMBERS_A_THREAD];
  if (kept === 0 || units === 0) return;
  const kernel = backend.kernel('unpack-4bit', 'unpack_4bit_rows', 'ppppi', definesOf(attributes.dtype, physical));
  const threads = Math.min(256, 32 * Math.ceil(units / 32));
  const args = [backend.address(weight), block.address, backend.address(indices), to, units];
  backend.launch(kernel, [kept], [threads], args);
}

/** Rows by index of matrices, each with its own indices, one below the other, [Σkept, in] in `physical`; owned by the caller. */
export function rowsOfFourBit(
  backend: CudaBackend,
  weights: readonly TensorInfo[],
  indices: readonly TensorInfo[],
  physical: 'f32' | 'bf16',
): TensorInfo {
  return belowEachOther(backend, weights, indices, physical, (weight, indices, to) =>
    unpackRows(backend, weight, indices, to, physical),
  );
}

/** Columns by index, [out, kept] in `physical`; owned by the caller. */
export function columnsOfFourBit(
  backend: CudaBackend,
  weight: TensorInfo,
  indices: TensorInfo,
  physical: 'f32' | 'bf16',
): TensorInfo {
  const { block, attributes } = codebookOf(backend, weight);
  const [rows, columns] = [attributes.out, attributes.in];
  const kept = indices.shape[0]!;
  const y = backend.output([rows, kept], 'float32', physical);
  if (rows === 0 || kept === 0) return y;
  const kernel = backend.kernel(
    'unpack-4bit',
    'unpack_4bit_columns',
    'ppppiiii',
    definesOf(attributes.dtype, physical),
  );
  const across = kept > 64 ? 64 : 32;
  const down = 128 / across;
  const grid = [Math.ceil(kept / (2 * across)), Math.min(65535, Math.ceil(rows / (4 * down)))] as const;
  const places = [backend.address(weight), block.address, backend.address(indices), backend.address(y)];
  backend.launch(kernel, grid, [across, down], [...places, rows, columns, kept, kept % 2 === 0 ? 1 : 0]);
  return y;
}

const fourBitForm: StoredForm = {
  keyOf: () => 'plain',
  rowsOf: (backend, x, _, type) => plainRows(backend, x, type),
  times: (backend, x, weight, sum) => multiplyPlain(backend, x as PlainRows, weight, true, sum),
  timesTransposed: (backend, dy, weight, sum) => multiplyPlain(backend, dy as PlainRows, weight, false, sum),
  keptRows: (backend, weights, indices) => rowsOfFourBit(backend, weights, indices, backend.weightType),
  keptColumns: (backend, weight, indices) => columnsOfFourBit(backend, weight, indices, backend.weightType),
};

registerForm(['u4'], fourBitForm);

declareVariants('unpack-4bit', combinations({ TO: FLOATS, NUMBERS: [0, 2] }));
declareVariants('unpack-4bit', combinations({ TO: ['float'], NUMBERS: [1] }));
