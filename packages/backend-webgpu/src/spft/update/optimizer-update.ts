/** @file Steps of the optimizers, where parameters and moments lie, and the norm of all gradients. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, f32, forEach, output, sizeOf, withScratch } from '../../shared/call.js';
import { sumInto } from '../../shared/sum.js';

/** Outputs of which each is the memory of an input. */
function shared(backend: Backend, infos: readonly tf.TensorInfo[]): tf.TensorInfo[] {
  return infos.map((info) => {
    backend.incRef(info.dataId);
    return { dataId: info.dataId, shape: info.shape, dtype: info.dtype };
  });
}

function adamw({ backend, inputs, attributes }: Call<'SpftAdamw'>): tf.TensorInfo[] {
  const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
  const scale = inputs.gradientScale;
  const of = (role: 'p' | 'm' | 'v') => Array.from({ length: count }, (_, n) => inputs[`${role}${n}`]!);
  const [p, m, v] = [of('p'), of('m'), of('v')];
  const outputs = shared(backend, [...p, ...m, ...v]);
  const numbers = [
    ...[1 - learningRate * weightDecay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon, stepSize, rootCorrection],
  ].map(f32);
  p.forEach((parameter, n) => {
    const g = inputs[`g${n}`]!;
    const bindings = [g, scale ?? g, parameter, m[n]!, v[n]!];
    forEach(backend, 'adamw', [sizeOf(parameter.shape), ...numbers], bindings, { SCALED: !!scale });
  });
  return outputs;
}

function sgd({ backend, inputs, attributes }: Call<'SpftSgd'>): tf.TensorInfo[] {
  const { count, learningRate, weightDecay, momentum } = attributes;
  const scale = inputs.gradientScale;
  const of = (role: 'p' | 'm') => Array.from({ length: count }, (_, n) => inputs[`${role}${n}`]!);
  const p = of('p');
  const m = momentum === 0 ? [] : of('m');
  const outputs = shared(backend, [...p, ...m]);
  const numbers = [learningRate, weightDecay, momentum].map(f32);
  const constants = { SCALED: !!scale, WITH_MOMENTUM: momentum !== 0 };
  withScratch(backend, [1], (none) => {
    p.forEach((parameter, n) => {
      const g = inputs[`g${n}`]!;
      const bindings = [g, scale ?? g, parameter, m[n] ?? none!];
      forEach(backend, 'sgd', [sizeOf(parameter.shape), ...numbers], bindings, constants);
    });
  });
  return outputs;
}

function globalNorm({ backend, inputs, attributes: { count } }: Call<'SpftGlobalNorm'>): tf.TensorInfo {
  const norm = output(backend, []);
  withScratch(backend, [count], (squares) => {
    for (let n = 0; n < count; n++) {
      const t = inputs[`t${n}`]!;
      sumInto(backend, t, sizeOf(t.shape), squares!, n, { squares: true });
    }
    sumInto(backend, squares!, count, norm, 0, { root: true });
  });
  return norm;
}

export const optimizerUpdateKernels = { SpftAdamw: adamw, SpftSgd: sgd, SpftGlobalNorm: globalNorm };
