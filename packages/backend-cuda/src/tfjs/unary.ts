/**
 * @file Functions of one number, elementwise. The table says what tfjs's cpu backend does with the dtype; `cuda/unary.cu` has the functions.
 */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, hostTensor, packsOf, resultPhysical, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { C_TYPE } from '../storage.js';

/** Functions that keep an int32 tensor's integers. */
const OF_NUMBERS = ['Abs', 'Neg', 'Square', 'Sign', 'Relu', 'Relu6', 'Floor', 'Ceil', 'Round', 'ClipByValue'];

const OF_FLOATS = [
  ...['Exp', 'Expm1', 'Log', 'Log1p', 'Sqrt', 'Rsqrt', 'Reciprocal', 'Sigmoid', 'Softplus', 'LeakyRelu', 'Elu', 'Selu'],
  ...['Step', 'Erf', 'Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Tanh', 'Asinh', 'Acosh', 'Atanh'],
];

/** Functions whose results are true or false. */
const TESTS: readonly string[] = ['IsNan', 'IsInf', 'IsFinite', 'LogicalNot'];

/** Functions whose result is float32 whatever they are given. */
const TO_FLOAT: readonly string[] = ['Exp', 'LeakyRelu'];

/** Attributes that the function takes as `p` and `q`. */
const ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  ClipByValue: ['clipValueMin', 'clipValueMax'],
  LeakyRelu: ['alpha'],
  Step: ['alpha'],
};

/** What a scalar of the host, a learning rate say, goes through without leaving it. */
const ON_HOST: Readonly<Record<string, (x: number) => number>> = {
  Abs: Math.abs,
  Neg: (x) => -x,
  Square: (x) => x * x,
  Sqrt: Math.sqrt,
  Rsqrt: (x) => 1 / Math.sqrt(x),
  Reciprocal: (x) => 1 / x,
  Exp: Math.exp,
  Log: Math.log,
};

/** `op` of every element of `x` as a new tensor, owned by the caller. `op` is a function of `cuda/unary.cu`. */
export function unary(backend: CudaBackend, op: string, x: tf.TensorInfo, p = 0, q = 0): tf.TensorInfo {
  const dtype = TESTS.includes(op) ? 'bool' : TO_FLOAT.includes(op) ? 'float32' : x.dtype;
  const scalar = backend.hostScalar(x);
  if (scalar !== null && dtype === 'float32' && op in ON_HOST) {
    return hostTensor(backend, ON_HOST[op]!(scalar), x.shape, dtype);
  }
  const [from, to] = [backend.physical(x), resultPhysical(backend, dtype, x)];
  const y = backend.output(x.shape, dtype, to);
  const size = tf.util.sizeFromShape(x.shape);
  const [source, target] = [backend.address(x), backend.address(y)];
  const packs = packsOf(size, [source, from], [target, to]);
  const kernel = backend.kernel('unary', 'unary', 'ppllff', { OP: op, FROM: C_TYPE[from], TO: C_TYPE[to] });
  backend.launch(
    kernel,
    [blocksFor(Math.max(packs, size - 8 * packs))],
    [THREADS],
    [source, target, size, packs, p, q],
  );
  return y;
}

for (const name of [...OF_NUMBERS, ...OF_FLOATS, ...TESTS]) {
  registerCudaKernel<'x', Record<string, number>>(name, ({ backend, inputs, attributes }) => {
    const [p, q] = (ATTRIBUTES[name] ?? []).map((attribute) => attributes[attribute]!);
    return unary(backend, name, inputs.x, p, q);
  });
}

declareVariants('unary', [
  ...[...OF_NUMBERS, ...OF_FLOATS].flatMap((OP) => [
    { OP, FROM: 'float', TO: 'float' },
    { OP, FROM: 'bf16', TO: 'bf16' },
  ]),
  ...combinations({ OP: OF_NUMBERS, FROM: ['int'], TO: ['int'] }),
  ...combinations({ OP: ['IsNan', 'IsInf', 'IsFinite'], FROM: ['float', 'bf16', 'int'], TO: ['u8'] }),
  { OP: 'LogicalNot', FROM: 'u8', TO: 'u8' },
]);
