/** @file RMSNorm and its gradient, alone or with what the residual stream brings. */
import type * as tf from '@tensorflow/tfjs';
import { type Call, dimensions, f32, groupsFor, lanesFor, output, words } from '../../shared/call.js';

function rmsNorm({ backend, inputs: { x, weight }, attributes: { eps } }: Call<'SpftRmsNorm'>): tf.TensorInfo {
  const [rows, width] = dimensions(x);
  const y = output(backend, x.shape);
  if (rows === 0) return y;
  const constants = { LANES: lanesFor(width) };
  backend.dispatch('rms-norm', constants, words(rows, width, f32(eps)), [x, weight, y], groupsFor(rows));
  return y;
}

function grad(call: Call<'SpftRmsNormGrad'>, dresidual: tf.TensorInfo | null): tf.TensorInfo {
  const { x, weight, dy } = call.inputs;
  const { backend, attributes } = call;
  const [rows, width] = dimensions(x);
  const dx = output(backend, x.shape);
  if (rows === 0) return dx;
  const constants = { LANES: lanesFor(width), WITH_RESIDUAL: dresidual !== null };
  const params = words(rows, width, f32(attributes.eps));
  backend.dispatch('rms-norm-grad', constants, params, [x, weight, dy, dresidual ?? dy, dx], groupsFor(rows));
  return dx;
}

export const rmsNormKernels = {
  SpftRmsNorm: rmsNorm,
  SpftRmsNormGrad: (call: Call<'SpftRmsNormGrad'>) => grad(call, null),
  SpftRmsNormResidualGrad: (call: Call<'SpftRmsNormResidualGrad'>) => grad(call, call.inputs.dresidual),
};
