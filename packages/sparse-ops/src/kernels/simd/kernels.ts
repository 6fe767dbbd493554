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
import type { SimdCall, SimdRun } from './module.js';

const FLOAT = 4;

function longestSequence({ sequenceStarts }: PackedLayout): number {
  let longest = 0;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    longest = Math.max(longest, sequenceStarts[b + 1]! - sequenceStarts[b]!);
  }
  return longest;
}

/** The last arguments of both attention kernels. */
function attentionArguments(call: SimdCall, { layout, heads }: AttentionAttributes): number[] {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const bytes = call.module.attentionScratch(longestSequence(layout), d);
  const { rowOfToken, sequenceStarts } = layout;
  const [rows, starts] = [call.copy(rowOfToken), call.copy(sequenceStarts)];
  return [rows, starts, sequenceStarts.length - 1, N, K, d, call.scratch(bytes / FLOAT)];
}

export const attention: SimdRun<'SpftPackedAttention'> = (call, { q, k, v }, attributes) => {
  const y = call.output(q!.shape);
  const tensors = [q!, k!, v!, y].map((info) => call.at(info));
  call.module.attention(...tensors, ...attentionArguments(call, attributes));
  return y;
};

export const attentionGrad: SimdRun<'SpftPackedAttentionGrad'> = (call, { q, k, v, dy }, attributes) => {
  const outputs = [q!, k!, v!].map(({ shape }) => call.output(shape));
  const tensors = [q!, k!, v!, dy!, ...outputs].map((info) => call.at(info));
  call.module.attentionGrad(...tensors, ...attentionArguments(call, attributes));
  return outputs;
};

export const loraLinear: SimdRun<'SpftLoraLinear'> = (call, { x, base, loraA, loraB }, { scaling }) => {
  const [T, inputs] = x!.shape as [number, number];
  const [out, r] = loraB!.shape as [number, number];
  const [y, h] = [call.output([T, out]), call.output([T, r])];
  const [aTransposed, bTransposed] = [call.scratch(r * inputs), call.scratch(r * out)];
  const { product, transpose } = call.module;
  const [hAt, yAt] = [call.at(h), call.at(y)];
  transpose(call.at(loraA!), aTransposed, r, inputs, 1);
  transpose(call.at(loraB!), bTransposed, out, r, scaling);
  product(call.at(x!), inputs * FLOAT, FLOAT, aTransposed, r * FLOAT, hAt, r * FLOAT, 0, T, inputs, r, 1);
  product(hAt, r * FLOAT, FLOAT, bTransposed, out * FLOAT, yAt, out * FLOAT, call.at(base!), T, r, out, 1);
  return [y, h];
};

export const loraLinearGrad: SimdRun<'SpftLoraLinearGrad'> = (call, { x, h, loraA, loraB, dy }, { scaling }) => {
  const [T, inputs] = x!.shape as [number, number];
  const [out, r] = loraB!.shape as [number, number];
  const [dx, dA, dB] = [call.output(x!.shape), call.output(loraA!.shape), call.output(loraB!.shape)];
  const dh = call.scratch(T * r);
  const { product, deepProduct } = call.module;
  const [dyAt, xAt] = [call.at(dy!), call.at(x!)];
  product(dyAt, out * FLOAT, FLOAT, call.at(loraB!), r * FLOAT, dh, r * FLOAT, 0, T, out, r, scaling);
  product(dh, r * FLOAT, FLOAT, call.at(loraA!), inputs * FLOAT, call.at(dx), inputs * FLOAT, 0, T, r, inputs, 1);
  deepProduct(dh, xAt, call.at(dA), T, r, inputs, 1);
  deepProduct(dyAt, call.at(h!), call.at(dB), T, out, r, scaling);
  return [dx, dA, dB];
};

const sizeOf = ({ shape }: tf.TensorInfo): number => shape.reduce((product, n) => product * n, 1);

export const swiglu: SimdRun<'SpftSwiglu'> = (call, { gate, up }) => {
  const y = call.output(gate!.shape);
  call.module.swiglu(call.at(gate!), call.at(up!), call.at(y), sizeOf(y));
  return y;
};

export const swigluGrad: SimdRun<'SpftSwigluGrad'> = (call, { gate, up, dy }) => {
  const outputs = [call.output(gate!.shape), call.output(gate!.shape)];
  const tensors = [gate!, up!, dy!, ...outputs].map((info) => call.at(info));
  call.module.swigluGrad(...tensors, sizeOf(gate!));
  return outputs;
};

export const rmsNorm: SimdRun<'SpftRmsNorm'> = (call, { x, weight }, { eps }) => {
  const y = call.output(x!.shape);
  const [T, H] = x!.shape as [number, number];
  call.module.rmsNorm(call.at(x!), call.at(weight!), call.at(y), T, H, eps);
  return y;
};

export const rmsNormGrad: SimdRun<'SpftRmsNormGrad'> = (call, { x, weight, dy }, { eps }) => {
  const dx = call.output(x!.shape);
  const [T, H] = x!.shape as [number, number];
  call.module.rmsNormGrad(call.at(x!), call.at(weight!), call.at(dy!), call.at(dx), T, H, eps);
  return dx;
};

export const rope: SimdRun<'SpftRope'> = (call, { x, cos, sin }, { headDim, inverse }) => {
  const y = call.output(x!.shape);
  const [T, width] = x!.shape as [number, number];
  const tensors = [x!, cos!, sin!, y].map((info) => call.at(info));
  call.module.rope(...tensors, T, width / headDim, headDim / 2, inverse ? -1 : 1);
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
    call.module.adamw(...tensors, sizeOf(p), ...constants, rootCorrection, epsilon);
    updated.forEach((info, role) => {
      outputs[role * count + n] = info;
    });
  }
  return outputs;
};
