/** @file silu(gate) · up and its gradient. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, forEach, output, sizeOf } from '../../shared/call.js';

function swiglu({ backend, inputs: { gate, up } }: Call<'SpftSwiglu'>): tf.TensorInfo {
  const y = output(backend, gate.shape);
  forEach(backend, 'swiglu', [sizeOf(gate.shape)], [gate, up, y]);
  return y;
}

function swigluGrad({ backend, inputs: { gate, up, dy } }: Call<'SpftSwigluGrad'>): tf.TensorInfo[] {
  const [dgate, dup] = [output(backend, gate.shape), output(backend, gate.shape)];
  forEach(backend, 'swiglu-grad', [sizeOf(gate.shape)], [gate, up, dy, dgate, dup]);
  return [dgate, dup];
}

export const swigluKernels = { SpftSwiglu: swiglu, SpftSwigluGrad: swigluGrad };
