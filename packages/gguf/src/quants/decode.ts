/** @file Stored elements to float32, whichever type they are of. */
import { bfloat16ToFloat32, float16ToFloat32 } from '@spft/safetensors';
import { GGML_TYPES, type GgmlTypeName } from '../ggml-types.js';
import {
  type DecodeBlock,
  decodeQ4_0,
  decodeQ4_1,
  decodeQ4_K,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ5_K,
  decodeQ6_K,
  decodeQ8_0,
} from './blocks.js';

const BLOCKS = {
  Q4_0: decodeQ4_0,
  Q4_1: decodeQ4_1,
  Q5_0: decodeQ5_0,
  Q5_1: decodeQ5_1,
  Q8_0: decodeQ8_0,
  Q4_K: decodeQ4_K,
  Q5_K: decodeQ5_K,
  Q6_K: decodeQ6_K,
} as const satisfies Partial<Record<GgmlTypeName, DecodeBlock>>;

export const DECODED_TYPES = ['F32', 'F16', 'BF16', ...(Object.keys(BLOCKS) as (keyof typeof BLOCKS)[])] as const;
/** The types whose values can be read. */
export type DecodedType = (typeof DECODED_TYPES)[number];

export const isDecoded = (type: GgmlTypeName): type is DecodedType =>
  (DECODED_TYPES as readonly string[]).includes(type);

/** Whether values of this type lie in blocks with scales, so that they are always read as float32. */
export const isQuantized = (type: GgmlTypeName): boolean => GGML_TYPES[type].blockSize > 1;

/**
 * @param bytes whole blocks, little-endian.
 * @param target as many elements as the blocks have.
 */
export function decode(type: DecodedType, bytes: Uint8Array, target: Float32Array): void {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  if (bytes.length * blockSize !== target.length * blockBytes) {
    throw new RangeError(`decode: ${bytes.length} bytes of ${type} are not ${target.length} elements`);
  }
  if (type === 'F32') new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
  else if (type === 'F16') float16ToFloat32(halves(bytes), target);
  else if (type === 'BF16') bfloat16ToFloat32(halves(bytes), target);
  else {
    const block: DecodeBlock = BLOCKS[type];
    for (let at = 0, to = 0; at < bytes.length; at += blockBytes, to += blockSize) block(bytes, at, target, to);
  }
}

function halves(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
}
