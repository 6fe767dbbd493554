/**
 * @file Quantised blocks to float32, as ggml's `dequantize_row_*` makes them: every product and sum is rounded to float32 where ggml rounds it. Blocks of
 * 32 have a scale in half precision, `_1` ones a minimum too; K-blocks of 256 have scales of parts of themselves, quantised in turn.
 */
import { float16ToFloat32 } from '@spft/safetensors';

/** Values of the block that begins at byte `at`, to `target` from `to` on. */
export type DecodeBlock = (bytes: Uint8Array, at: number, target: Float32Array, to: number) => void;

const { fround } = Math;

/** All 65,536 values, once the first block is read. */
let halves: Float32Array | undefined;

function float16(bytes: Uint8Array, at: number): number {
  if (!halves) {
    halves = new Float32Array(65536);
    float16ToFloat32(
      Uint16Array.from(halves, (_, half) => half),
      halves,
    );
  }
  return halves[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

const int8 = (byte: number): number => (byte << 24) >> 24;

export const decodeQ8_0: DecodeBlock = (bytes, at, target, to) => {
  const d = float16(bytes, at);
  for (let i = 0; i < 32; i++) target[to + i] = d * int8(bytes[at + 2 + i]!);
};

/** The first half of a block is in the low halves of its bytes. */
export const decodeQ4_0: DecodeBlock = (bytes, at, target, to) => {
  const d = float16(bytes, at);
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 2 + i]!;
    target[to + i] = d * ((byte & 15) - 8);
    target[to + 16 + i] = d * ((byte >> 4) - 8);
  }
};

export const decodeQ4_1: DecodeBlock = (bytes, at, target, to) => {
  const [d, m] = [float16(bytes, at), float16(bytes, at + 2)];
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 4 + i]!;
    target[to + i] = fround(d * (byte & 15)) + m;
    target[to + 16 + i] = fround(d * (byte >> 4)) + m;
  }
};

/** The fifth bits of all 32 are one word. */
const fifthBits = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

export const decodeQ5_0: DecodeBlock = (bytes, at, target, to) => {
  const [d, high] = [float16(bytes, at), fifthBits(bytes, at + 2)];
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 6 + i]!;
    target[to + i] = d * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
    target[to + 16 + i] = d * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
  }
};

export const decodeQ5_1: DecodeBlock = (bytes, at, target, to) => {
  const [d, m, high] = [float16(bytes, at), float16(bytes, at + 2), fifthBits(bytes, at + 4)];
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + 8 + i]!;
    target[to + i] = fround(d * ((byte & 15) | (((high >>> i) & 1) << 4))) + m;
    target[to + 16 + i] = fround(d * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4))) + m;
  }
};

/** Six-bit scale and minimum of part `n` of eight, packed into twelve bytes. */
function scaleAndMinimum(bytes: Uint8Array, at: number, n: number): readonly [scale: number, minimum: number] {
  if (n < 4) return [bytes[at + n]! & 63, bytes[at + n + 4]! & 63];
  const [low, a, b] = [bytes[at + n + 4]!, bytes[at + n - 4]!, bytes[at + n]!];
  return [(low & 15) | ((a >> 6) << 4), (low >> 4) | ((b >> 6) << 4)];
}

export const decodeQ4_K: DecodeBlock = (bytes, at, target, to) => {
  const [d, least] = [float16(bytes, at), float16(bytes, at + 2)];
  for (let part = 0; part < 8; part++) {
    const [scale, minimum] = scaleAndMinimum(bytes, at + 4, part);
    const [by, less] = [fround(d * scale), fround(least * minimum)];
    const [from, shift] = [at + 16 + (part >> 1) * 32, (part & 1) * 4];
    for (let i = 0; i < 32; i++) target[to + part * 32 + i] = fround(by * ((bytes[from + i]! >> shift) & 15)) - less;
  }
};

export const decodeQ5_K: DecodeBlock = (bytes, at, target, to) => {
  const [d, least] = [float16(bytes, at), float16(bytes, at + 2)];
  for (let part = 0; part < 8; part++) {
    const [scale, minimum] = scaleAndMinimum(bytes, at + 4, part);
    const [by, less] = [fround(d * scale), fround(least * minimum)];
    const [from, shift] = [at + 48 + (part >> 1) * 32, (part & 1) * 4];
    for (let i = 0; i < 32; i++) {
      const fifth = ((bytes[at + 16 + i]! >> part) & 1) << 4;
      target[to + part * 32 + i] = fround(by * (((bytes[from + i]! >> shift) & 15) | fifth)) - less;
    }
  }
};

export const decodeQ6_K: DecodeBlock = (bytes, at, target, to) => {
  const d = float16(bytes, at + 208);
  for (let part = 0; part < 8; part++) {
    // Two halves of 128; in each, four runs of 32 share the high bits' bytes, and runs two apart the low bits'.
    const [side, run] = [part >> 2, part & 3];
    const [low, high] = [at + side * 64 + (run & 1) * 32, at + 128 + side * 32];
    for (let i = 0; i < 32; i++) {
      const q = ((bytes[low + i]! >> ((run >> 1) * 4)) & 15) | (((bytes[high + i]! >> (run * 2)) & 3) << 4);
      const scale = int8(bytes[at + 192 + part * 2 + (i >> 4)]!);
      target[to + part * 32 + i] = fround(d * scale) * (q - 32);
    }
  }
};
