/** @file An op on `cuda` against the same op on tfjs's cpu backend, on inputs that a printed seed makes. */
import * as tf from '@tensorflow/tfjs';
import { cuda } from './cuda.js';

/** Element type of an input. */
export type Kind = 'f32' | 'bf16' | 'i32' | 'bool';

/** What an input is made of; values are made from the seed unless they are given. */
export interface Input {
  readonly shape: readonly number[];
  readonly kind?: Kind;
  /** Least and greatest; default -2 and 2, for i32 -9 and 9. */
  readonly range?: readonly [number, number];
  readonly values?: readonly number[];
}

export interface Options {
  /** Largest error, relative to the expected value plus one. By default 2e-6, or 2^-8 where the result is bf16. */
  readonly tolerance?: number;
  readonly seed?: number;
}

/** A seed of this process's: fresh every time, or SPFT_TEST_SEED. */
export const SEED = Number(process.env.SPFT_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers in [0, 1) from a seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const bits = new Uint32Array(1);
const floats = new Float32Array(bits.buffer);
/** The bits of the bf16 number nearest to x, ties to even. */
export function bf16Bits(x: number): number {
  floats[0] = x;
  if (Number.isNaN(x)) return 0x7fc0;
  return (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16;
}
export function roundToBf16(x: number): number {
  bits[0] = bf16Bits(x) << 16;
  return floats[0]!;
}

function valuesOf({ shape, kind = 'f32', range, values }: Input, next: () => number): number[] {
  const size = tf.util.sizeFromShape([...shape]);
  const [low, high] = range ?? (kind === 'i32' ? [-9, 9] : [-2, 2]);
  const made =
    values ??
    Array.from({ length: size }, () => {
      const x = low + next() * (high - low);
      return kind === 'bool' ? (next() < 0.5 ? 0 : 1) : kind === 'i32' ? Math.round(x) : Math.fround(x);
    });
  return kind === 'bf16' ? made.map(roundToBf16) : [...made];
}

/** A tensor of the active backend, on the device. */
function tensorOf(values: readonly number[], shape: readonly number[], kind: Kind): tf.Tensor {
  if (kind === 'bf16' && tf.getBackend() === 'cuda') return bf16Tensor(values, shape);
  const dtype = kind === 'i32' ? 'int32' : kind === 'bool' ? 'bool' : 'float32';
  return tf.tensor(values as number[], [...shape], dtype);
}

/** A float32 tensor that lies on the device as bf16. */
export function bf16Tensor(values: readonly number[], shape: readonly number[]): tf.Tensor {
  const words = Uint16Array.from(values, bf16Bits);
  const info = cuda().upload(new Uint8Array(words.buffer), shape, 'float32', 'bf16');
  return tf.engine().makeTensorFromTensorInfo(info);
}

/**
 * Throws unless `f` gives on `cuda` what it gives on `cpu`: shapes, dtypes and values, NaN and infinities included, and leaves no tensor.
 * Leaves `cuda` active.
 */
export async function expectAsOnCpu(
  name: string,
  f: (...inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
  inputs: readonly Input[],
  options: Options = {},
): Promise<void> {
  const seed = options.seed ?? SEED;
  const next = random(seed);
  const values = inputs.map((input) => valuesOf(input, next));
  const run = async (backend: string) => {
    await tf.setBackend(backend);
    const before = tf.memory().numTensors;
    const made = inputs.map(({ shape, kind = 'f32' }, n) => tensorOf(values[n]!, shape, kind));
    const results = [tf.tidy(() => f(...made))].flat();
    const read = results.map((result) => ({
      shape: result.shape,
      dtype: result.dtype,
      bf16: backend === 'cuda' && cuda().physical(result) === 'bf16',
      values: result.dataSync(),
    }));
    tf.dispose([made, results]);
    const left = tf.memory().numTensors - before;
    if (left !== 0) throw new Error(`${name} on ${backend}: ${left} tensors left`);
    return read;
  };
  const expected = await run('cpu');
  const dataIds = (tf.findBackend('cuda') as tf.KernelBackend | null)?.numDataIds() ?? 0;
  const actual = await run('cuda');
  const about = `${name} of ${inputs.map(({ shape, kind = 'f32' }) => `${kind}[${shape}]`).join(', ')}, seed ${seed}`;
  const leaked = cuda().numDataIds() - dataIds;
  if (leaked !== 0) throw new Error(`${about}: ${leaked} of the backend's tensors left`);
  if (actual.length !== expected.length) throw new Error(`${about}: ${actual.length} results for ${expected.length}`);
  expected.forEach((e, n) => {
    const a = actual[n]!;
    if (`${a.dtype} [${a.shape}]` !== `${e.dtype} [${e.shape}]`) {
      throw new Error(`${about}: ${a.dtype} [${a.shape}] for ${e.dtype} [${e.shape}]`);
    }
    const tolerance = options.tolerance ?? (a.bf16 ? 2 ** -8 : e.dtype === 'float32' ? 2e-6 : 0);
    const wrong: string[] = [];
    for (let i = 0; i < e.values.length; i++) {
      const [x, y] = [a.values[i] as number, e.values[i] as number];
      if (Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
      if (!(Math.abs(x - y) <= tolerance * (1 + Math.abs(y)))) wrong.push(`[${i}] ${x} for ${y}`);
    }
    if (wrong.length > 0) {
      throw new Error(
        `${about}, result ${n}: ${wrong.length} of ${e.values.length} differ: ${wrong.slice(0, 5).join(', ')}`,
      );
    }
  });
}
