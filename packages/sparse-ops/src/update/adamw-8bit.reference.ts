/**
 * @file Plain loops that say the same as adamw-8bit.ts, for one tensor: moments as numbers, codes looked for among all 256 values. Rounding can be exchanged,
 * as bitsandbytes rounds otherwise on the CPU than on the GPU.
 */
import { dynamicMap } from './dynamic-map.js';

export interface Moment8bit {
  /** A code a number. */
  readonly codes: Uint8Array;
  /** Of each block of 256. */
  readonly scales: Float32Array;
}

export interface Adamw8bitReferenceOptions {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** From 1. */
  readonly step: number;
  /** Of every gradient. */
  readonly scale: number;
  /** The code of a number from −1 to 1. */
  readonly round?: (x: number, map: Float32Array) => number;
}

const [SIGNED, UNSIGNED] = [dynamicMap(true), dynamicMap(false)];

/** The nearest value's code, of two the even one; a negative number never gets a value that is not negative. */
export function nearestCode(x: number, map: Float32Array): number {
  let best = 0;
  for (let code = 1; code < 256; code++) {
    const middle = Math.fround(Math.fround(map[code - 1]! + map[code]!) * 0.5);
    if (x > middle || (x === middle && code % 2 === 0)) best = code;
  }
  return map[0]! < 0 && x < 0 && map[best]! >= 0 ? best - 1 : best;
}

export function dequantiseReference({ codes, scales }: Moment8bit, map: Float32Array): Float32Array {
  return Float32Array.from(codes, (code, i) => map[code]! * scales[i >> 8]!);
}

/** One step. @returns what parameters and moments are then. */
export function adamw8bitReference(
  p: ArrayLike<number>,
  g: ArrayLike<number>,
  first: Moment8bit,
  second: Moment8bit,
  o: Adamw8bitReferenceOptions,
): { p: Float32Array; first: Moment8bit; second: Moment8bit } {
  const round = o.round ?? nearestCode;
  const gradient = Array.from(g, (x) => x * o.scale);
  const m = dequantiseReference(first, SIGNED).map((x, i) => o.beta1 * x + (1 - o.beta1) * gradient[i]!);
  const v = dequantiseReference(second, UNSIGNED).map((x, i) => o.beta2 * x + (1 - o.beta2) * gradient[i]! ** 2);
  const moved = Float32Array.from(p, (x, i) => {
    const [mean, square] = [m[i]! / (1 - o.beta1 ** o.step), v[i]! / (1 - o.beta2 ** o.step)];
    return x * (1 - o.learningRate * o.weightDecay) - (o.learningRate * mean) / (Math.sqrt(square) + o.epsilon);
  });
  return { p: moved, first: quantise(m, SIGNED, round), second: quantise(v, UNSIGNED, round) };
}

function quantise(values: Float32Array, map: Float32Array, round: typeof nearestCode): Moment8bit {
  const scales = new Float32Array(Math.ceil(values.length / 256));
  values.forEach((x, i) => {
    scales[i >> 8] = Math.max(scales[i >> 8]!, Math.abs(x));
  });
  const codes = Uint8Array.from(values, (x, i) => {
    const scale = scales[i >> 8]!;
    return round(scale === 0 ? 0 : Math.fround(x / scale), map);
  });
  return { codes, scales };
}
