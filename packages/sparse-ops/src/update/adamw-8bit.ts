/**
 * @file One step of AdamW whose moments are kept in 8 bits, as bitsandbytes' `AdamW8bit` has it (Dettmers et al. 2022, arXiv:2110.02861): in blocks of 256,
 * each with the largest magnitude of its numbers as scale, by codes of the dynamic map (dynamic-map.ts). The step itself is computed in float32 from
 * moments that were not rounded yet; rounded they wait for the next.
 *
 * Codes are int32 words of four, so that they take a byte a number on every backend: tfjs has no tensors of bytes. The composition takes words apart with
 * float32 and int32 arithmetic that is exact, as there are no bit operations on wasm, and handles the blocks of all parameters at once.
 */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { adamw8bitOnHost } from '../kernels/host/adamw-8bit.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { BLOCK, BLOCK_WORDS, blocksOf, momentTables } from './dynamic-map.js';
import { type AdamwOptions, adamwNumbers } from './optimizer-update.js';

registerHostKernel('SpftAdamw8bit', adamw8bitOnHost);

/** Moments of parameters of `size` numbers, one of each for each parameter; the last block is filled up. */
export interface Adamw8bitState {
  /** int32 [64 · ⌈size / 256⌉]. */
  readonly firstCodes: readonly tf.Variable[];
  /** [⌈size / 256⌉]: the largest magnitude of each block. */
  readonly firstScales: readonly tf.Variable[];
  readonly secondCodes: readonly tf.Variable[];
  readonly secondScales: readonly tf.Variable[];
}

/** Zeros for each parameter, not trainable; owned by the caller. */
export function zeroMoments8bit(parameters: readonly tf.Variable[]): Adamw8bitState {
  const each = (make: (blocks: number) => tf.Tensor) =>
    parameters.map((p) => tf.tidy(() => tf.variable(make(blocksOf(p.size)), false)));
  const codes = () => each((blocks) => tf.zeros([blocks * BLOCK_WORDS], 'int32'));
  const scales = () => each((blocks) => tf.zeros([blocks]));
  return { firstCodes: codes(), firstScales: scales(), secondCodes: codes(), secondScales: scales() };
}

/** Values and thresholds of the codes, [4, 256]: made once, given to each step; owned by the caller. */
export const momentTablesTensor = (): tf.Tensor2D => tf.tensor2d(momentTables(), [4, BLOCK]);

const ROLES = ['p', 'g', 'mCodes', 'mScales', 'vCodes', 'vScales'] as const;

/**
 * Assigns new values to parameters and moments; gradients and tables stay the caller's.
 * @param tables of `momentTablesTensor`.
 * @throws RangeError when counts or shapes differ or the step is below 1.
 */
export function adamw8bitUpdate(
  parameters: readonly tf.Variable[],
  gradients: readonly tf.Tensor[],
  state: Adamw8bitState,
  tables: tf.Tensor2D,
  options: AdamwOptions,
): void {
  const { step, learningRate, weightDecay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, gradientScale } = options;
  if (!(step >= 1)) throw new RangeError(`adamw8bitUpdate: step is ${step}; steps count from 1`);
  const { firstCodes, firstScales, secondCodes, secondScales } = state;
  const given = [parameters, gradients, firstCodes, firstScales, secondCodes, secondScales] as const;
  check(given);
  const count = parameters.length;
  if (count === 0) return;
  const inputs: Record<string, tf.Tensor> = { tables, ...(gradientScale ? { gradientScale } : {}) };
  ROLES.forEach((role, n) => {
    given[n]!.forEach((tensor, index) => {
      inputs[`${role}${index}`] = tensor;
    });
  });
  const [, stepSize, rootCorrection] = adamwNumbers(options);
  const numbers = { learningRate, weightDecay, beta1, beta2, epsilon, step, stepSize, rootCorrection };
  const attributes = { count, ...numbers, ...(options.numbers ? { numbers: options.numbers } : {}) };
  tf.tidy(() => {
    const made = runOp('SpftAdamw8bit', inputs as never, attributes, () =>
      compose(given, tables, gradientScale, numbers),
    ) as tf.Tensor[];
    [parameters, firstCodes, firstScales, secondCodes, secondScales].flat().forEach((variable, n) => {
      variable.assign(made[n]!);
    });
  });
}

type Given = readonly [
  parameters: readonly tf.Variable[],
  gradients: readonly tf.Tensor[],
  ...moments: (readonly tf.Variable[])[],
];

function check([parameters, gradients, ...moments]: Given): void {
  for (const [n, tensors] of [gradients, ...moments].entries()) {
    const role = ROLES[n + 1]!;
    if (tensors.length !== parameters.length)
      throw new RangeError(`adamw8bitUpdate: ${tensors.length} tensors '${role}' for ${parameters.length} parameters`);
    tensors.forEach((tensor, index) => {
      const { shape, size } = parameters[index]!;
      const wanted = n === 0 ? shape : [blocksOf(size) * (role.endsWith('Codes') ? BLOCK_WORDS : 1)];
      if (!tf.util.arraysEqual(tensor.shape, wanted))
        throw new RangeError(
          `adamw8bitUpdate: '${role}' of parameter ${index} is [${tensor.shape}], wanted [${wanted}] for a parameter of [${shape}]`,
        );
    });
  }
}

interface StepNumbers {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly stepSize: number;
  readonly rootCorrection: number;
}

/** New parameters, then codes and scales of the first moments, then of the second. Call it in a tidy. */
function compose(
  [parameters, gradients, firstCodes, firstScales, secondCodes, secondScales]: Given,
  tables: tf.Tensor2D,
  gradientScale: tf.Scalar | undefined,
  o: StepNumbers,
): tf.Tensor[] {
  const blocks = parameters.map(({ size }) => blocksOf(size));
  const p = inBlocks(parameters);
  const g = gradientScale ? tf.mul(inBlocks(gradients), gradientScale) : inBlocks(gradients);
  const table = (row: number) => tf.reshape(tf.slice(tables, [row, 0], [1, BLOCK]), [BLOCK]) as tf.Tensor1D;
  const read = (codes: readonly tf.Tensor[], scales: readonly tf.Tensor[], row: number) =>
    tf.mul(tf.gather(table(row), unpack(joined(codes, BLOCK_WORDS))), joined(scales, 1));
  const m = tf.add(tf.mul(read(firstCodes!, firstScales!, 0), o.beta1), tf.mul(g, 1 - o.beta1));
  const v = tf.add(tf.mul(read(secondCodes!, secondScales!, 2), o.beta2), tf.mul(tf.square(g), 1 - o.beta2));
  const denominator = tf.add(tf.div(tf.sqrt(v), o.rootCorrection), o.epsilon);
  const decayed = o.weightDecay === 0 ? p : tf.mul(p, 1 - o.learningRate * o.weightDecay);
  const moved = tf.sub(decayed, tf.mul(tf.div(m, denominator), o.stepSize)) as tf.Tensor2D;
  return [
    ...parts(moved, blocks).map((part, n) => {
      const { shape, size } = parameters[n]!;
      return tf.reshape(tf.slice(tf.reshape(part, [-1]), [0], [size]), shape);
    }),
    ...rounded(m as tf.Tensor2D, table(1), blocks),
    ...rounded(v as tf.Tensor2D, table(3), blocks),
  ];
}

/** [Σ blocks, 256], each tensor filled up with zeros to whole blocks. */
function inBlocks(tensors: readonly tf.Tensor[]): tf.Tensor2D {
  const filled = tensors.map((tensor) => {
    const rest = blocksOf(tensor.size) * BLOCK - tensor.size;
    const flat = tf.reshape(tensor, [tensor.size]) as tf.Tensor1D;
    return tf.reshape(rest === 0 ? flat : tf.concat([flat, tf.zeros([rest])]), [-1, BLOCK]) as tf.Tensor2D;
  });
  return filled.length === 1 ? filled[0]! : tf.concat(filled, 0);
}

function joined(tensors: readonly tf.Tensor[], width: number): tf.Tensor2D {
  const rows = tensors.map((tensor) => tf.reshape(tensor, [-1, width]) as tf.Tensor2D);
  return rows.length === 1 ? rows[0]! : tf.concat(rows, 0);
}

function parts(all: tf.Tensor2D, blocks: readonly number[]): tf.Tensor2D[] {
  let at = 0;
  return blocks.map((count) => {
    const part = tf.slice(all, [at, 0], [count, all.shape[1]]);
    at += count;
    return part;
  });
}

/** Codes and scales of each parameter: [codes…, scales…]. */
function rounded(values: tf.Tensor2D, thresholds: tf.Tensor1D, blocks: readonly number[]): tf.Tensor[] {
  const scales = tf.max(tf.abs(values), 1, true) as tf.Tensor2D;
  // A block of zeros has the scale 0 and stays zero whatever its codes are.
  const relative = tf.div(values, tf.maximum(scales, tf.cast(tf.equal(scales, 0), 'float32')));
  const words = pack(nearest(relative as tf.Tensor2D, thresholds));
  return [
    ...parts(words, blocks).map((part) => tf.reshape(part, [-1])),
    ...parts(scales, blocks).map((part) => tf.reshape(part, [-1])),
  ];
}

/** How many thresholds each number has reached, by halving: int32 of the shape of x. */
function nearest(x: tf.Tensor2D, thresholds: tf.Tensor1D): tf.Tensor2D {
  let code = tf.zerosLike(x);
  for (let width = BLOCK / 2; width >= 1; width /= 2) {
    const at = tf.cast(tf.add(code, width - 1), 'int32');
    const reached = tf.cast(tf.greaterEqual(x, tf.gather(thresholds, at)), 'float32');
    code = tf.add(code, tf.mul(reached, width));
  }
  return tf.cast(code, 'int32');
}

const [BYTE, TWO_BYTES, THREE_BYTES] = [2 ** 8, 2 ** 16, 2 ** 24];

/** int32 [n, 64] → int32 codes [n, 256]. */
function unpack(words: tf.Tensor2D): tf.Tensor2D {
  // The top byte, signed. A float32 has 24 bits, so the quotient may be one too large: then the rest is below zero.
  const about = tf.floor(tf.mul(tf.cast(words, 'float32'), 1 / THREE_BYTES));
  const rest = (top: tf.Tensor) =>
    tf.cast(tf.sub(words, tf.mul(tf.cast(top, 'int32'), tf.scalar(THREE_BYTES, 'int32'))), 'float32');
  const top = tf.sub(about, tf.cast(tf.less(rest(about), 0), 'float32'));
  const low = rest(top);
  const third = tf.floor(tf.mul(low, 1 / TWO_BYTES));
  const two = tf.sub(low, tf.mul(third, TWO_BYTES));
  const second = tf.floor(tf.mul(two, 1 / BYTE));
  const first = tf.sub(two, tf.mul(second, BYTE));
  const fourth = tf.add(top, tf.mul(tf.cast(tf.less(top, 0), 'float32'), BYTE));
  const codes = tf.stack([first, second, third, fourth], 2);
  return tf.cast(tf.reshape(codes, [words.shape[0], BLOCK]), 'int32') as tf.Tensor2D;
}

/** int32 codes [n, 256] → int32 [n, 64]. */
function pack(codes: tf.Tensor2D): tf.Tensor2D {
  const bytes = tf.reshape(tf.cast(codes, 'float32'), [codes.shape[0], BLOCK_WORDS, 4]) as tf.Tensor3D;
  const byte = (n: number) =>
    tf.reshape(tf.slice(bytes, [0, 0, n], [codes.shape[0], BLOCK_WORDS, 1]), [codes.shape[0], BLOCK_WORDS]);
  const low = tf.add(byte(0), tf.add(tf.mul(byte(1), BYTE), tf.mul(byte(2), TWO_BYTES)));
  const top = tf.sub(byte(3), tf.mul(tf.cast(tf.greaterEqual(byte(3), BYTE / 2), 'float32'), BYTE));
  return tf.add(tf.cast(low, 'int32'), tf.mul(tf.cast(top, 'int32'), tf.scalar(THREE_BYTES, 'int32'))) as tf.Tensor2D;
}
