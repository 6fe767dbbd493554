/** @file Rotary position embedding; the gradient turns back. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, f32, forEach, output } from '../../shared/call.js';

function rope({ backend, inputs: { x, cos, sin }, attributes }: Call<'SpftRope'>): tf.TensorInfo {
  const { headDim, inverse } = attributes;
  const [T, width] = dimensions(x);
  const y = output(backend, x.shape);
  forEach(backend, 'rope', [(T * width) / 2, headDim / 2, width / headDim, f32(inverse ? -1 : 1)], [x, cos, sin, y]);
  return y;
}

export const ropeKernels = { SpftRope: rope };
