/**
 * @file What lies beside a matrix's codes of four bits: its book and its scales, in one piece of device memory that kernels read by one address
 * (cuda/four-bit.cuh has the same layout), and the tensors that they came as.
 */
import type { KernelInputsOf, Packed4bitAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { Codebook } from '../storage.js';

export type Parts = KernelInputsOf<'SpftUnpack4bit'>;

/** Where a part begins, in bytes, and how many elements it has. */
interface Place {
  readonly at: number;
  readonly count: number;
}

export interface FourBitCodebook extends Codebook {
  readonly attributes: Packed4bitAttributes;
  /** By name, in the order of the kernels' inputs. */
  readonly places: Readonly<Partial<Record<Exclude<keyof Parts, 'codes'>, Place>>>;
}

export const codebookOf = (backend: CudaBackend, weight: tf.TensorInfo) => backend.codebook(weight) as FourBitCodebook;

/** Of `FourBit` in four-bit.cuh; the book is its first 64. */
const HEADER_BYTES = 128;
const BOOK_BYTES = 64;
const ALIGNMENT = 128;

const isBytes = (name: string) => name === 'absmaxCodes';

/**
 * @returns book and scales in memory of their own, of which the caller is the one user.
 * @throws CudaOutOfMemoryError; then nothing is left.
 */
export function codebookFrom(backend: CudaBackend, parts: Parts, attributes: Packed4bitAttributes): FourBitCodebook {
  const places: Partial<Record<keyof Parts, Place>> = { map: { at: 0, count: 16 } };
  let bytes = HEADER_BYTES;
  for (const name of ['absmax', 'absmaxCodes', 'nestedAbsmax', 'nestedMap'] as const) {
    const part = parts[name];
    if (!part) continue;
    const count = part.shape.reduce((product, n) => product * n, 1);
    places[name] = { at: bytes, count };
    bytes += Math.ceil((count * (isBytes(name) ? 1 : 4)) / ALIGNMENT) * ALIGNMENT;
  }
  const block = backend.memoryPool.allocate(bytes, 'scales of weights');
  try {
    const header = new ArrayBuffer(HEADER_BYTES - BOOK_BYTES);
    const { absmax, absmaxCodes, nestedMap, nestedAbsmax } = places;
    const { blockSize, nestedBlockSize, offset } = attributes;
    const whole = [
      ...[nestedMap?.at ?? 0, nestedAbsmax?.at ?? 0, (absmax ?? absmaxCodes)!.at],
      ...[Math.log2(blockSize), nestedBlockSize > 0 ? Math.log2(nestedBlockSize) : 0],
    ];
    new Int32Array(header).set(whole);
    new Float32Array(header)[whole.length] = offset;
    backend.uploadTo(block.address + BOOK_BYTES, new Uint8Array(header));
    for (const [name, { at, count }] of Object.entries(places)) {
      const part = parts[name as keyof Parts]!;
      if (count === 0) continue;
      if (isBytes(name)) backend.copy(backend.address(part), block.address + at, count);
      else {
        const floats = backend.as(part, 'f32');
        backend.copy(backend.address(floats), block.address + at, 4 * count);
        backend.release(floats);
      }
    }
    return { block, attributes, places };
  } catch (error) {
    backend.memoryPool.release(block);
    throw error;
  }
}

/** The parts of a matrix as tensors that share its memory, in the order of the kernels' inputs; owned by the caller. */
export function partsOf(backend: CudaBackend, weight: tf.TensorInfo): tf.TensorInfo[] {
  const { block, places, attributes } = codebookOf(backend, weight);
  const data = backend.data.get(weight.dataId);
  const codes = backend.tensorIn(data.block!, data.offset, [(attributes.out * attributes.in) / 2], 'u8');
  const others = Object.entries(places).map(([name, { at, count }]) =>
    backend.tensorIn(block, at, [count], isBytes(name) ? 'u8' : 'f32'),
  );
  return [codes, ...others];
}
