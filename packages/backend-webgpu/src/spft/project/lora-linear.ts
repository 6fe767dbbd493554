/** @file The branch of LoRA on top of a base product: y = base + s · h · Bᵀ with h = x · Aᵀ, and its gradient. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, output } from '../../shared/call.js';
import { multiply, plain, transposed } from '../../shared/product.js';

function loraLinear(call: Call<'SpftLoraLinear'>): tf.TensorInfo[] {
  const { backend, attributes } = call;
  const { x, base, loraA, loraB } = call.inputs;
  const [T, width] = dimensions(x);
  const [r, out] = [loraA.shape[0]!, loraB.shape[0]!];
  const [y, h] = [output(backend, [T, out]), output(backend, [T, r])];
  multiply(backend, { m: T, n: r, k: width, a: plain(x), b: transposed(loraA), c: { x: h } });
  multiply(backend, {
    ...{ m: T, n: out, k: r, a: plain(h), b: transposed(loraB), c: { x: y } },
    ...{ alpha: attributes.scaling, added: { x: base, row: out } },
  });
  return [y, h];
}

function loraLinearGrad(call: Call<'SpftLoraLinearGrad'>): tf.TensorInfo[] {
  const { backend, attributes } = call;
  const { x, h, loraA, loraB, dy } = call.inputs;
  const [T, width] = dimensions(x);
  const [r, out] = [loraA.shape[0]!, loraB.shape[0]!];
  const alpha = attributes.scaling;
  const [dx, dA, dB] = [output(backend, [T, width]), output(backend, [r, width]), output(backend, [out, r])];
  const dh = output(backend, [T, r]);
  multiply(backend, { m: T, n: r, k: out, a: plain(dy), b: plain(loraB), c: { x: dh }, alpha });
  multiply(backend, { m: T, n: width, k: r, a: plain(dh), b: plain(loraA), c: { x: dx } });
  multiply(backend, { m: r, n: width, k: T, a: transposed(dh), b: plain(x), c: { x: dA } });
  multiply(backend, { m: out, n: r, k: T, a: transposed(dy), b: plain(h), c: { x: dB }, alpha });
  backend.disposeData(dh.dataId);
  return [dx, dA, dB];
}

export const loraLinearKernels = { SpftLoraLinear: loraLinear, SpftLoraLinearGrad: loraLinearGrad };
