/** @file Steps of the optimizers, where parameters and moments lie, and the norm of all gradients. */
import type * as tf from '@tensorflow/tfjs';
import {
  type Backend,
  type Call,
  f32,
  forEach,
  groupsFor,
  output,
  sizeOf,
  withScratch,
  words,
} from '../../shared/call.js';
import { sumInto } from '../../shared/sum.js';

/** Tensors of one dispatch, and numbers of a workgroup, where squares are summed. */
const AT_ONCE = 7;
const SHARE = 2 ** 14;

/** Of gradient, parameter and moments of two parameters, the gradients' scale, and a recorded step's numbers. */
const BUFFERS_OF_PAIR = 10;

/** A recorded step's numbers, where they are read instead of those of the attributes. */
const recordedIn = (backend: Backend, numbers: Float32Array | undefined) =>
  numbers && backend.isStepInput(numbers) ? numbers : null;

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
  const recorded = recordedIn(backend, attributes.numbers);
  const [decay, size, correction] = recorded ? [1, 0, 1] : [1 - learningRate * weightDecay, stepSize, rootCorrection];
  const numbers = [decay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon, size, correction].map(f32);
  const constants = { SCALED: !!scale, RECORDED: recorded !== null };
  const all = p.flatMap((parameter, n) => {
    const size = sizeOf(parameter.shape);
    return size > 0 ? [{ size, tensors: [inputs[`g${n}`]!, parameter, m[n]!, v[n]!] }] : [];
  });
  const pairs = backend.device.limits.maxStorageBuffersPerShaderStage >= BUFFERS_OF_PAIR;
  for (let n = 0; n < all.length; n += pairs ? 2 : 1) {
    const [one, other] = [all[n]!, pairs ? all[n + 1] : undefined];
    const bindings = [
      ...[scale ?? one.tensors[0]!, ...one.tensors, ...(other?.tensors ?? [])],
      recorded ?? one.tensors[0]!,
    ];
    if (!other) {
      forEach(backend, 'adamw', [one.size, ...numbers], bindings, constants);
      continue;
    }
    const [x, y] = groupsFor(Math.ceil(Math.max(one.size, other.size) / 256));
    const params = words(one.size, ...numbers, other.size);
    backend.dispatch('adamw-pair', constants, params, bindings, [x, y, 2]);
  }
  return outputs;
}

function sgd({ backend, inputs, attributes }: Call<'SpftSgd'>): tf.TensorInfo[] {
  const { count, learningRate, weightDecay, momentum } = attributes;
  const scale = inputs.gradientScale;
  const of = (role: 'p' | 'm') => Array.from({ length: count }, (_, n) => inputs[`${role}${n}`]!);
  const p = of('p');
  const m = momentum === 0 ? [] : of('m');
  const outputs = shared(backend, [...p, ...m]);
  const recorded = recordedIn(backend, attributes.numbers);
  const numbers = [recorded ? 0 : learningRate, weightDecay, momentum].map(f32);
  const constants = { SCALED: !!scale, WITH_MOMENTUM: momentum !== 0, RECORDED: recorded !== null };
  withScratch(backend, [1], (none) => {
    p.forEach((parameter, n) => {
      const g = inputs[`g${n}`]!;
      const bindings = [g, scale ?? g, parameter, m[n] ?? none!, recorded ?? g];
      forEach(backend, 'sgd', [sizeOf(parameter.shape), ...numbers], bindings, constants);
    });
  });
  return outputs;
}

function globalNorm({ backend, inputs, attributes: { count } }: Call<'SpftGlobalNorm'>): tf.TensorInfo {
  const norm = output(backend, []);
  const all = Array.from({ length: count }, (_, n) => inputs[`t${n}`]!);
  const groups = Array.from({ length: Math.ceil(count / AT_ONCE) }, (_, n) =>
    all.slice(n * AT_ONCE, (n + 1) * AT_ONCE),
  );
  const shares = groups.map((group) => Math.max(1, ...group.map(({ shape }) => Math.ceil(sizeOf(shape) / SHARE))));
  const total = shares.reduce((sum, n, g) => sum + n * groups[g]!.length, 0);
  withScratch(backend, [total], (squares) => {
    let at = 0;
    groups.forEach((group, g) => {
      const tensors = Array.from({ length: AT_ONCE }, (_, n) => group[n] ?? group[0]!);
      const params = words(SHARE, shares[g]!, at, ...tensors.map(({ shape }) => sizeOf(shape)));
      backend.dispatch('squares', { LANES: 256 }, params, [...tensors, squares!], [shares[g]!, group.length]);
      at += shares[g]! * group.length;
    });
    sumInto(backend, squares!, total, norm, 0, { root: true });
  });
  return norm;
}

export const optimizerUpdateKernels = { SpftAdamw: adamw, SpftSgd: sgd, SpftGlobalNorm: globalNorm };
