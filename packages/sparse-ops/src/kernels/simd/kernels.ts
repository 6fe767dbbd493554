/**
 * @file What each SIMD kernel is given and gives: the places of tensors, in the order that `assembly/` wants them.
 *
 * Measured on wasm (Node 20, one thread of a Xeon), 600 tokens in 8 sequences, H = 192, I = 1024, N = 6, K = 2, d = 32, r = 16, ms without →
 * with: forward of attention 3.6 → 1.7, LoRA 0.44 → 0.28, SwiGLU 1.6 → 1.2, RMSNorm 0.32 → 0.04, RoPE 0.33 → 0.04; forward and backward 15.7 →
 * 5.2, 2.6 → 1.4, 5.1 → 3.2, 1.2 → 0.24, 0.75 → 0.11; AdamW of 32 tensors of 3072 1.7 → 0.7.
 */
import type * as tf from '@tensorflow/tfjs';
import type { AttentionAttributes } from '../../contract/layers.js';
import type { PackedLayout } from '../../contract/types.js';
import { type SimdCall, type SimdRun, withCall } from './module.js';
import { stretches } from './products.js';
import { inScratch } from './threads/pool.js';

const FLOAT = 4;

function longestSequence({ sequenceStarts }: PackedLayout): number {
  let longest = 0;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    longest = Math.max(longest, sequenceStarts[b + 1]! - sequenceStarts[b]!);
  }
  return longest;
}

/** Runs an attention kernel: sequences apart, and the key heads of each, on all threads. */
function attend(
  call: SimdCall,
  kernel: 'attention' | 'attentionGrad',
  tensors: readonly tf.TensorInfo[],
  { layout, heads }: AttentionAttributes,
): void {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const { rowOfToken, sequenceStarts } = layout;
  const places = tensors.map((info) => call.at(info));
  const [rows, starts] = [call.copy(rowOfToken), call.copy(sequenceStarts)];
  call.pool.reserve(call.module.attentionScratch(longestSequence(layout), d));
  // One thread does all heads of a sequence while its rows are in the cache.
  const headsAtOnce = call.pool.threads === 1 ? K : 1;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    for (let h = 0; h < K; h += headsAtOnce) {
      call.pool.call(kernel, ...places, rows, starts, N, K, d, inScratch(0), b, b + 1, h, h + headsAtOnce);
      call.pool.endChunk();
    }
  }
  call.pool.run();
}

export const attention: SimdRun<'SpftPackedAttention'> = (call, { q, k, v }, attributes) => {
  const y = call.output(q!.shape);
  attend(call, 'attention', [q!, k!, v!, y], attributes);
  return y;
};

export const attentionGrad: SimdRun<'SpftPackedAttentionGrad'> = (call, { q, k, v, dy }, attributes) => {
  const outputs = [q!, k!, v!].map(({ shape }) => call.output(shape));
  attend(call, 'attentionGrad', [q!, k!, v!, dy!, ...outputs], attributes);
  return outputs;
};

/** Numbers that a thread should have to do at least, so that waking it pays. */
const GRAIN = 2 ** 14;

/** Calls `add` for parts of [0, count), which each begin at a multiple of `unit`, and runs them: on all threads where it is worth it. */
export function share(
  { pool }: SimdCall,
  count: number,
  numbersEach: number,
  unit: number,
  add: (from: number, to: number) => void,
): void {
  const parts = Math.max(1, Math.min(2 * pool.threads, Math.floor((count * numbersEach) / GRAIN)));
  for (const [from, to] of stretches(count, pool.threads === 1 ? 1 : parts, unit)) {
    add(from, to);
    pool.endChunk();
  }
  pool.run();
}

/** Rows that a thread multiplies at least by a thin matrix and back. */
const LEAST_ROWS = 32;

/** Parts of T rows for the two products of an adapter. */
export const rowParts = ({ pool }: SimdCall, T: number): [from: number, to: number][] =>
  stretches(T, pool.threads === 1 ? 1 : Math.max(1, Math.min(2 * pool.threads, Math.floor(T / LEAST_ROWS))), 4);

export const loraLinear: SimdRun<'SpftLoraLinear'> = (call, { x, base, loraA, loraB }, { scaling }) => {
  const [T, inputs] = x!.shape as [number, number];
  const [out, r] = loraB!.shape as [number, number];
  const [y, h] = [call.output([T, out]), call.output([T, r])];
  const [a, b] = [call.scratch(r * inputs), call.scratch(r * out)];
  const { transpose } = call.module;
  const [xAt, baseAt, hAt, yAt] = [x!, base!, h, y].map((info) => call.at(info)) as [number, number, number, number];
  transpose(call.at(loraA!), a, r, inputs, 1);
  transpose(call.at(loraB!), b, out, r, scaling);
  const [wide, thin, high] = [inputs * FLOAT, r * FLOAT, out * FLOAT];
  for (const [from, to] of rowParts(call, T)) {
    const [rows, hRows] = [to - from, hAt + from * thin];
    call.pool.call('product', xAt + from * wide, wide, FLOAT, a, thin, hRows, thin, 0, rows, inputs, r, 1);
    const [added, result] = [baseAt + from * high, yAt + from * high];
    call.pool.call('product', hRows, thin, FLOAT, b, high, result, high, added, rows, r, out, 1);
    call.pool.endChunk();
  }
  call.pool.run();
  return [y, h];
};

export const loraLinearGrad: SimdRun<'SpftLoraLinearGrad'> = (call, { x, h, loraA, loraB, dy }, { scaling }) => {
  const [T, inputs] = x!.shape as [number, number];
  const [out, r] = loraB!.shape as [number, number];
  const outputs = [call.output(x!.shape), call.output(loraA!.shape), call.output(loraB!.shape)] as const;
  const dh = call.scratch(T * r);
  const places = [x!, h!, loraA!, loraB!, dy!, ...outputs].map((info) => call.at(info));
  const [xAt, hAt, aAt, bAt, dyAt, dxAt, dAAt, dBAt] = places as [
    ...[number, number, number, number],
    ...[number, number, number, number],
  ];
  const [wide, thin, high] = [inputs * FLOAT, r * FLOAT, out * FLOAT];
  const { pool } = call;
  for (const [from, to] of rowParts(call, T)) {
    const [rows, dhRows] = [to - from, dh + from * thin];
    pool.call('product', dyAt + from * high, high, FLOAT, bAt, thin, dhRows, thin, 0, rows, out, r, scaling);
    pool.call('product', dhRows, thin, FLOAT, aAt, wide, dxAt + from * wide, wide, 0, rows, r, inputs, 1);
    pool.endChunk();
  }
  pool.run();
  for (const [from, to] of stretches(inputs, pool.threads, 8)) {
    pool.call('deepProduct', dh, thin, xAt + from * FLOAT, wide, dAAt + from * FLOAT, wide, T, r, to - from, 1);
    pool.endChunk();
  }
  for (const [from, to] of stretches(out, pool.threads, 4)) {
    pool.call('deepProduct', dyAt + from * FLOAT, high, hAt, thin, dBAt + from * thin, thin, T, to - from, r, scaling);
    pool.endChunk();
  }
  pool.run();
  return [...outputs];
};

const sizeOf = ({ shape }: tf.TensorInfo): number => shape.reduce((product, n) => product * n, 1);

/** Calls an elementwise kernel on tensors of n numbers, in parts. */
function shareNumbers(
  call: SimdCall,
  kernel: 'add' | 'swiglu' | 'swigluGrad',
  tensors: readonly tf.TensorInfo[],
): void {
  const places = tensors.map((info) => call.at(info));
  share(call, sizeOf(tensors[0]!), kernel === 'add' ? 1 : 4, 4, (from, to) =>
    call.pool.call(kernel, ...places.map((place) => place + from * FLOAT), to - from),
  );
}

export const swiglu: SimdRun<'SpftSwiglu'> = (call, { gate, up }) => {
  const y = call.output(gate!.shape);
  shareNumbers(call, 'swiglu', [gate!, up!, y]);
  return y;
};

export const swigluGrad: SimdRun<'SpftSwigluGrad'> = (call, { gate, up, dy }) => {
  const outputs = [call.output(gate!.shape), call.output(gate!.shape)];
  shareNumbers(call, 'swigluGrad', [gate!, up!, dy!, ...outputs]);
  return outputs;
};

export const rmsNorm: SimdRun<'SpftRmsNorm'> = (call, { x, weight }, { eps }) => {
  const y = call.output(x!.shape);
  const [T, H] = x!.shape as [number, number];
  const [xAt, weightAt, yAt] = [call.at(x!), call.at(weight!), call.at(y)];
  share(call, T, H, 1, (from, to) => {
    const first = from * H * FLOAT;
    call.pool.call('rmsNorm', xAt + first, weightAt, yAt + first, to - from, H, eps);
  });
  return y;
};

/** @param dresidual what x gets elsewhere, added; or null. */
function normGradient(
  call: SimdCall,
  [x, weight, dy]: readonly [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo],
  dresidual: tf.TensorInfo | null,
  eps: number,
): tf.TensorInfo {
  const dx = call.output(x.shape);
  const [T, H] = x.shape as [number, number];
  const [xAt, weightAt, dyAt, dxAt] = [call.at(x), call.at(weight), call.at(dy), call.at(dx)];
  const addedAt = dresidual && call.at(dresidual);
  share(call, T, 2 * H, 1, (from, to) => {
    const first = from * H * FLOAT;
    const added = addedAt === null ? 0 : addedAt + first;
    call.pool.call('rmsNormGrad', xAt + first, weightAt, dyAt + first, dxAt + first, added, to - from, H, eps);
  });
  return dx;
}

export const rmsNormGrad: SimdRun<'SpftRmsNormGrad'> = (call, { x, weight, dy }, { eps }) =>
  normGradient(call, [x!, weight!, dy!], null, eps);

export const rmsNormResidualGrad: SimdRun<'SpftRmsNormResidualGrad'> = (call, { x, weight, dy, dresidual }, { eps }) =>
  normGradient(call, [x!, weight!, dy!], dresidual!, eps);

/**
 * tfjs's kernel Add, of which a step has many: residuals, and gradients that meet.
 * @param tfjs its own, for what is not float32 or of different shapes.
 */
export const addOrElse =
  (tfjs: tf.KernelFunc): tf.KernelFunc =>
  (params) => {
    const { a, b } = params.inputs as Record<'a' | 'b', tf.TensorInfo>;
    const alike = a.shape.length === b.shape.length && a.shape.every((size, axis) => size === b.shape[axis]);
    if (!alike || a.dtype !== 'float32' || b.dtype !== 'float32') return tfjs(params);
    return withCall(params.backend, (call) => {
      const y = call.output(a.shape);
      shareNumbers(call, 'add', [a, b, y]);
      return y;
    });
  };

export const rope: SimdRun<'SpftRope'> = (call, { x, cos, sin }, { headDim, inverse }) => {
  const y = call.output(x!.shape);
  const [T, width] = x!.shape as [number, number];
  const [xAt, cosAt, sinAt, yAt] = [call.at(x!), call.at(cos!), call.at(sin!), call.at(y)];
  const half = headDim / 2;
  share(call, T, width, 1, (from, to) => {
    const [row, turn] = [from * width * FLOAT, from * half * FLOAT];
    const places = [xAt + row, cosAt + turn, sinAt + turn, yAt + row];
    call.pool.call('rope', ...places, to - from, width / headDim, half, inverse ? -1 : 1);
  });
  return y;
};

export const transpose: SimdRun<'SpftTranspose2d'> = (call, { x }) => {
  const [rows, columns] = x!.shape as [number, number];
  const y = call.output([columns, rows]);
  call.module.transpose(call.at(x!), call.at(y), rows, columns, 1);
  return y;
};

export const adamw: SimdRun<'SpftAdamw'> = (call, inputs, attributes) => {
  const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
  const scale = inputs.gradientScale ? call.values(inputs.gradientScale)[0]! : 1;
  const constants = [scale, beta1, 1 - beta1, beta2, 1 - beta2, 1 - learningRate * weightDecay, stepSize];
  const outputs: tf.TensorInfo[] = [];
  for (let n = 0; n < count; n++) {
    const [p, g, m, v] = (['p', 'g', 'm', 'v'] as const).map((role) => inputs[`${role}${n}`]!) as [
      tf.TensorInfo,
      tf.TensorInfo,
      tf.TensorInfo,
      tf.TensorInfo,
    ];
    const updated = [p, m, v].map(({ shape }) => call.output(shape));
    const tensors = [p, g, m, v, ...updated].map((info) => call.at(info));
    call.pool.call('adamw', ...tensors, sizeOf(p), ...constants, rootCorrection, epsilon);
    call.pool.endChunk();
    updated.forEach((info, role) => {
      outputs[role * count + n] = info;
    });
  }
  call.pool.run();
  return outputs;
};
