/** @file One step of AdamW or SGD over all tensors. */
import type * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';

type Infos = Readonly<Record<string, tf.TensorInfo>>;

/** Numbers of a chunk: tensors of an adapter are small, and one alone is not worth another thread. */
const CHUNK = 2 ** 15;

const scaleOf = (call: Call, { gradientScale }: Infos): number => (gradientScale ? call.values(gradientScale)[0]! : 1);

/** Adds chunks of `add` for each parameter's numbers and runs them. */
function eachParameter(call: Call, inputs: Infos, count: number, add: (n: number, size: number) => void): void {
  let numbers = 0;
  for (let n = 0; n < count; n++) {
    const size = sizeOf(inputs[`p${n}`]!.shape);
    add(n, size);
    numbers += size;
    if (numbers >= CHUNK || n === count - 1) {
      call.pool.endChunk();
      numbers = 0;
    }
  }
  call.pool.run();
}

/** Outputs in the shapes of the parameters, once for each role. */
const likeParameters = (call: Call, inputs: Infos, count: number, roles: number): tf.TensorInfo[] =>
  Array.from({ length: roles * count }, (_, n) => call.output(inputs[`p${n % count}`]!.shape));

export const adamw: BlasKernel<'SpftAdamw'> = (call, inputs, attributes) => {
  const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
  const outputs = likeParameters(call, inputs, count, 3);
  const numbers = [scaleOf(call, inputs), beta1, 1 - beta1, beta2, 1 - beta2, 1 - learningRate * weightDecay];
  eachParameter(call, inputs, count, (n, size) => {
    const given = (['p', 'g', 'm', 'v'] as const).map((role) => call.at(inputs[`${role}${n}`]!));
    const made = [0, 1, 2].map((role) => call.at(outputs[role * count + n]!));
    call.pool.call('adamw', 0, size, ...given, ...made, ...numbers, stepSize, rootCorrection, epsilon);
  });
  return outputs;
};

export const sgd: BlasKernel<'SpftSgd'> = (call, inputs, { count, learningRate, weightDecay, momentum }) => {
  const outputs = likeParameters(call, inputs, count, momentum === 0 ? 1 : 2);
  const numbers = [scaleOf(call, inputs), momentum, weightDecay, learningRate];
  eachParameter(call, inputs, count, (n, size) => {
    const [p, g] = (['p', 'g'] as const).map((role) => call.at(inputs[`${role}${n}`]!)) as [number, number];
    const [m, newM] = momentum === 0 ? [0, 0] : [call.at(inputs[`m${n}`]!), call.at(outputs[count + n]!)];
    call.pool.call('sgd', 0, size, p, g, m, call.at(outputs[n]!), newM, ...numbers);
  });
  return outputs;
};
