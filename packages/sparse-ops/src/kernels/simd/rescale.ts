/** @file What DoRA needs of the layers that rescale what they give: plain passes over numbers, beside which the products take most of the time. */
import type * as tf from '@tensorflow/tfjs';
import type { KernelBranch } from '../../contract/layers.js';
import type { Address, SimdCall } from './module.js';
import { multiply, whole } from './products.js';

/** ‖W + s·B·A‖ of each row. @param weight [out, in]. */
export function doraNorms(call: SimdCall, weight: tf.TensorInfo, { a, b, scaling }: KernelBranch): tf.TensorInfo {
  const [out, inputs] = weight.shape as [number, number];
  const norms = call.output([out]);
  const c = { at: call.scratch(out * inputs), stride: inputs };
  const [left, right] = [whole(call, b), whole(call, a)];
  multiply(call, {
    ...{ m: out, k: b.shape[1]!, n: inputs, a: left, b: right, c, added: whole(call, weight), scale: scaling },
  });
  const lengths = call.values(norms);
  const sums = new Float32Array(lengths.buffer, c.at, out * inputs);
  for (let o = 0; o < out; o++) {
    let squares = 0;
    for (let i = o * inputs; i < (o + 1) * inputs; i++) squares += sums[i]! * sums[i]!;
    lengths[o] = Math.sqrt(squares);
  }
  return norms;
}

/** magnitude / norm of each output; 0 where a norm is. */
function factors(call: SimdCall, magnitude: tf.TensorInfo, norms: tf.TensorInfo): Float32Array {
  const [m, lengths] = [call.values(magnitude), call.values(norms)];
  return Float32Array.from(m, (value, o) => (lengths[o] === 0 ? 0 : value / lengths[o]!));
}

/** y = z ⊙ magnitude / norms, with what is added, or null. */
export function rescaled(
  call: SimdCall,
  z: tf.TensorInfo,
  magnitude: tf.TensorInfo,
  norms: tf.TensorInfo,
  added: tf.TensorInfo | null = null,
): tf.TensorInfo {
  const y = call.output(z.shape);
  for (const info of [z, magnitude, norms, ...(added ? [added] : [])]) call.at(info);
  const c = factors(call, magnitude, norms);
  const [from, to, more] = [call.values(z), call.values(y), added && call.values(added)];
  for (let i = 0, o = 0; i < from.length; i++, o = o + 1 === c.length ? 0 : o + 1) {
    to[i] = from[i]! * c[o]! + (more ? more[i]! : 0);
  }
  return y;
}

/** dz = dy ⊙ magnitude / norms [T, out] until the call ends, and dmagnitude [out]. */
export function rescaledGradient(
  call: SimdCall,
  dy: tf.TensorInfo,
  z: tf.TensorInfo,
  magnitude: tf.TensorInfo,
  norms: tf.TensorInfo,
): { dz: Address; dm: tf.TensorInfo } {
  const [T, out] = dy.shape as [number, number];
  const [dz, dm] = [call.scratch(T * out), call.output([out])];
  for (const info of [dy, z, magnitude, norms]) call.at(info);
  const c = factors(call, magnitude, norms);
  const [gradient, before, lengths, sums] = [call.values(dy), call.values(z), call.values(norms), call.values(dm)];
  const to = new Float32Array(gradient.buffer, dz, T * out);
  sums.fill(0);
  for (let i = 0, o = 0; i < to.length; i++, o = o + 1 === out ? 0 : o + 1) {
    to[i] = gradient[i]! * c[o]!;
    sums[o]! += gradient[i]! * before[i]!;
  }
  for (let o = 0; o < out; o++) sums[o] = lengths[o] === 0 ? 0 : sums[o]! / lengths[o]!;
  return { dz, dm };
}
