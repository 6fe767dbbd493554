/**
 * @file Numbers to codes of 4 bits and their scales, with the bits of bitsandbytes: on the host, a matrix at a time while a model is loaded, or by a backend's
 * kernel. Four comparisons a number: 5 ns, so 35 s for the seven thousand million of an 8B model where there is no kernel.
 */
import * as tf from '@tensorflow/tfjs';
import type { FourBitType } from '../contract/layers.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { CODE_ORDERS, DYNAMIC_MAP } from './code-books.js';

const f = Math.fround;

/** Scales are never divided by less. */
const LEAST = f(1e-38);

export interface Quantised {
  /** [n/2], the first of two numbers in the high nibble. */
  readonly codes: Uint8Array;
  /** [n / blockSize], the greatest magnitude of each block. */
  readonly absmax: Float32Array;
}

/** Sizes of blocks that bitsandbytes has. */
export const BLOCK_SIZES: readonly number[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/**
 * @param x a multiple of `blockSize` of numbers. A block with one that is not finite has NaN for its scale.
 * @throws RangeError otherwise.
 */
export function quantise4bitOnHost(x: Float32Array, type: FourBitType, blockSize: number): Quantised {
  if (x.length % blockSize !== 0)
    throw new RangeError(`quantise4bit: ${x.length} numbers are no multiple of ${blockSize}`);
  const { codes: order, bounds } = CODE_ORDERS[type];
  const codes = new Uint8Array(x.length / 2);
  const absmax = new Float32Array(x.length / blockSize);
  for (let b = 0; b < absmax.length; b++) {
    const [from, to] = [b * blockSize, (b + 1) * blockSize];
    let [most, rest] = [0, 0];
    for (let n = from; n < to; n++) {
      const size = Math.abs(x[n]!);
      if (size > most) most = size;
      // x − x is 0 for every finite x.
      rest += size - size;
    }
    absmax[b] = most + rest;
    const inverse = f(1 / Math.max(most, LEAST));
    for (let n = from; n < to; n += 2) {
      codes[n >> 1] =
        (order[placeOf(f(x[n]! * inverse), bounds)]! << 4) | order[placeOf(f(x[n + 1]! * inverse), bounds)]!;
    }
  }
  return { codes, absmax };
}

/** How many of 15 ascending bounds are below x. */
function placeOf(x: number, bounds: Float32Array): number {
  let place = x > bounds[7]! ? 8 : 0;
  if (x > bounds[place + 3]!) place += 4;
  if (x > bounds[place + 1]!) place += 2;
  return x > bounds[place]! ? place + 1 : place;
}

/** Scales in double quantisation. */
export interface QuantisedScales {
  readonly codes: Uint8Array;
  /** Scales of the scales. */
  readonly absmax: Float32Array;
  /** What was taken off before, a float. */
  readonly offset: number;
}

/** Steps of the table by which bitsandbytes' CPU code finds the code of a scale. */
const STEPS = 65535;
let table: Uint8Array | null = null;

function stepTable(): Uint8Array {
  if (table) return table;
  table = new Uint8Array(STEPS + 1);
  let code = 0;
  for (let step = 0; step <= STEPS; step++) {
    const at = f(-1 + f((2 * step) / STEPS));
    while (code < 255 && f(0.5 * f(DYNAMIC_MAP[code]! + DYNAMIC_MAP[code + 1]!)) < at) code++;
    table[step] = code;
  }
  return table;
}

/**
 * @param offset by default the mean. bitsandbytes adds it up in float32 in an order that depends on the machine, so its own may differ in the last place.
 */
export function quantiseScales(
  absmax: Float32Array,
  { offset, blockSize = 256 }: { readonly offset?: number; readonly blockSize?: number } = {},
): QuantisedScales {
  let sum = 0;
  for (let n = 0; n < absmax.length; n++) sum += absmax[n]!;
  const mean = f(offset ?? (absmax.length === 0 ? 0 : sum / absmax.length));
  const codes = new Uint8Array(absmax.length);
  const scales = new Float32Array(Math.ceil(absmax.length / blockSize));
  const codeOf = stepTable();
  for (let b = 0; b < scales.length; b++) {
    const [from, to] = [b * blockSize, Math.min(absmax.length, (b + 1) * blockSize)];
    let most = 0;
    for (let n = from; n < to; n++) most = Math.max(most, Math.abs(f(absmax[n]! - mean)));
    scales[b] = most;
    // Code 0, whatever it stands for, times 0.
    if (most === 0) continue;
    const inverse = f(1 / most);
    for (let n = from; n < to; n++) {
      const x = Math.min(1, Math.max(-1, f(f(absmax[n]! - mean) * inverse)));
      codes[n] = codeOf[Math.trunc(f(f(f(f(x + 1) * 0.5) * STEPS) + 0.5))]!;
    }
  }
  return { codes, absmax: scales, offset: mean };
}

/**
 * Codes and scales of a matrix; reads it back where the active backend has no kernel: for loading, not for a step.
 * @param x [out, in], of finite numbers; `in` a multiple of `blockSize`.
 * @throws RangeError when it is not.
 */
export function quantise4bit(x: tf.Tensor2D, type: FourBitType, blockSize: number): Quantised {
  const [out, inputs] = x.shape;
  if (inputs % blockSize !== 0) {
    throw new RangeError(
      `quantise4bit: rows of [${out},${inputs}] are no multiple of ${blockSize}, the numbers of a block`,
    );
  }
  return noGradient(() => {
    if (!hasKernel('SpftQuantise4bit') || x.size === 0)
      return quantise4bitOnHost(x.dataSync() as Float32Array, type, blockSize);
    const made = runKernel('SpftQuantise4bit', { x }, { type, blockSize });
    try {
      return { codes: made[0].dataSync() as Uint8Array, absmax: made[1].dataSync() as Float32Array };
    } finally {
      tf.dispose(made);
    }
  });
}
