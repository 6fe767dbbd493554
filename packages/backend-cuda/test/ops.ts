/**
 * @file An op of `@spft/sparse-ops` on `cuda` with bf16 tensors, also with tensors that begin anywhere in memory, against the same op on tfjs's cpu
 * backend with the same rounded numbers.
 */
import * as tf from '@tensorflow/tfjs';
import type { Physical } from '../src/storage.js';
import { bf16Bits, random, roundToBf16, SEED } from './compare.js';
import { cuda } from './cuda.js';

/** Values are random unless they are given: normal ones, for i32 none. */
export interface OpInput {
  readonly shape: readonly number[];
  readonly kind?: 'bf16' | 'f32' | 'i32';
  readonly values?: readonly number[];
}

export interface OpOptions {
  /** Physical type of each result; not looked at where there is none. */
  readonly physical?: readonly Physical[];
  /** ‖difference‖ / ‖expected‖ at most; default 2e-2. */
  readonly tolerance?: number;
}

export const bf16 = (...shape: number[]): OpInput => ({ shape, kind: 'bf16' });
export const f32 = (...shape: number[]): OpInput => ({ shape, kind: 'f32' });
export const i32 = (...values: number[]): OpInput => ({ shape: [values.length], kind: 'i32', values });

const size = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

function valuesOf({ shape, kind, values }: OpInput, next: () => number): number[] {
  const made =
    values ??
    Array.from({ length: size(shape) }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
  return kind === 'bf16' ? made.map(roundToBf16) : kind === 'i32' ? [...made] : made.map(Math.fround);
}

/** A tensor on `cuda` that begins `offset` elements after the memory that it lies in. */
export function cudaTensor(values: readonly number[], input: OpInput, offset: number): tf.Tensor {
  const { shape, kind = 'f32' } = input;
  const padded = [...new Array<number>(offset).fill(Number.NaN), ...values];
  const stored =
    kind === 'bf16'
      ? Uint16Array.from(padded, bf16Bits)
      : kind === 'i32'
        ? Int32Array.from(padded)
        : Float32Array.from(padded);
  const [dtype, physical] = kind === 'i32' ? (['int32', 'i32'] as const) : (['float32', kind] as const);
  const bytes = new Uint8Array(stored.buffer);
  const block = cuda().upload(bytes, [padded.length], dtype, physical);
  const view = cuda().view(block, [...shape], offset);
  cuda().release(block);
  return tf.engine().makeTensorFromTensorInfo(view);
}

/**
 * Throws unless `f` gives on `cuda` what it gives on `cpu`, the same bits each time, and leaves no memory behind. Leaves `cuda` active.
 */
export async function expectOp(
  name: string,
  inputs: readonly OpInput[],
  f: (...inputs: never[]) => tf.Tensor | tf.Tensor[],
  options: OpOptions = {},
): Promise<void> {
  const next = random(SEED);
  const values = inputs.map((input) => valuesOf(input, next));
  const about = `${name} of ${inputs.map(({ shape, kind = 'f32' }) => `${kind}[${shape}]`).join(', ')}, seed ${SEED}`;
  await tf.setBackend('cpu');
  const expected = tf.tidy(() => {
    const made = inputs.map(({ shape, kind }, n) =>
      tf.tensor(values[n]!, [...shape], kind === 'i32' ? 'int32' : 'float32'),
    );
    return [f(...(made as never[]))].flat().map((result) => [result.shape, result.dataSync()] as const);
  });
  await tf.setBackend('cuda');
  let held = 0;
  let first: string | undefined;
  for (const offset of [0, 0, 1, 8]) {
    const made = inputs.map((input, n) => cudaTensor(values[n]!, input, offset));
    const results = tf.tidy(() => [f(...(made as never[]))].flat());
    results.forEach((result, n) => {
      const physical = options.physical?.[n];
      const actual = cuda().physical(result);
      if (physical && actual !== physical) throw new Error(`${about}: result ${n} is ${actual}, not ${physical}`);
      compare(`${about}, result ${n}, offset ${offset}`, result, expected[n]!, options.tolerance ?? 2e-2);
    });
    const bits = results.map((result) => Buffer.from((result.dataSync() as Float32Array).buffer).toString('base64'));
    tf.dispose([made, results]);
    if (offset === 0) {
      first ??= bits.join();
      if (bits.join() !== first) throw new Error(`${about}: other bits the second time`);
    }
    // What is kept on purpose, like the last batch's rows by sequence, is there after the first time.
    if (held !== 0 && cuda().memoryPool.bytes !== held) {
      throw new Error(`${about}: ${cuda().memoryPool.bytes - held} bytes left`);
    }
    held = cuda().memoryPool.bytes;
  }
}

function compare(
  about: string,
  actual: tf.Tensor,
  [shape, expected]: readonly [number[], ArrayLike<number>],
  tolerance: number,
): void {
  if (`${actual.shape}` !== `${shape}`) throw new Error(`${about}: [${actual.shape}] for [${shape}]`);
  const values = actual.dataSync();
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (values[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  // What cancels to nearly nothing keeps the errors of its terms.
  const cancelled = tolerance > 0 ? 2e-6 * Math.sqrt(expected.length) : 0;
  const [error, allowed] = [Math.sqrt(difference), tolerance * Math.sqrt(norm) + cancelled];
  if (!(error <= allowed)) {
    const some = Array.from({ length: Math.min(6, expected.length) }, (_, i) => `${values[i]} for ${expected[i]}`);
    throw new Error(
      `${about}: off by ${error.toExponential(2)}, allowed ${allowed.toExponential(2)}: ${some.join(', ')}`,
    );
  }
}
