/**
 * @file tfjs's matrix products: batched, broadcast, transposed, with bias and activation. What is not float32 is left to the cpu backend's.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type BlasBackend, sizeOf } from '../backend.js';
import { type Call, withCall } from '../shared/call.js';
import { addParts, addProduct } from '../shared/product.js';

type Infos = Record<string, tf.TensorInfo>;

interface MatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Products of a batch that are large enough to be cut each on its own; smaller ones are whole chunks. */
const CUT = 5e7;

/** The batch index of a and b for each product of the broadcast batch. */
function batches(a: readonly number[], b: readonly number[], out: readonly number[]): [number, number][] {
  const pairs: [number, number][] = [];
  const total = sizeOf(out);
  for (let n = 0; n < total; n++) {
    const index = [0, 0];
    [a, b].forEach((shape, operand) => {
      let [rest, step, place] = [n, 1, 0];
      for (let axis = out.length - 1; axis >= 0; axis--) {
        const at = rest % out[axis]!;
        rest = Math.floor(rest / out[axis]!);
        const length = shape[axis - out.length + shape.length] ?? 1;
        if (length !== 1) place += at * step;
        step *= length;
      }
      index[operand] = place;
    });
    pairs.push(index as [number, number]);
  }
  return pairs;
}

function matMulFloat(call: Call, a: tf.TensorInfo, b: tf.TensorInfo, attributes: MatMulAttributes): tf.TensorInfo {
  const { transposeA, transposeB } = attributes;
  const [ra, rb] = [a.shape.length, b.shape.length];
  const k = a.shape[ra - (transposeA ? 2 : 1)]!;
  const inner = b.shape[rb - (transposeB ? 1 : 2)]!;
  const m = a.shape[ra - (transposeA ? 1 : 2)]!;
  const n = b.shape[rb - (transposeB ? 2 : 1)]!;
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  tf.util.assert(
    k === inner,
    () =>
      `Error in matMul: inner shapes (${k}) and (${inner}) of Tensors with shapes ${a.shape} and ${b.shape} and ` +
      `transposeA=${transposeA} and transposeB=${transposeB} must match.`,
  );
  const c = call.output([...batch, m, n]);
  if (k === 0) {
    call.values(c).fill(0);
    return c;
  }
  const [aAt, bAt, cAt] = [call.native(a), call.native(b), call.native(c)];
  const pairs = batches(batchA, batchB, batch);
  const small = pairs.length > 1 && 2 * m * n * k < CUT;
  // Small products of a batch in as many chunks as keep every thread busy, not one chunk each.
  const together = Math.max(1, Math.floor(pairs.length / (4 * call.pool.threads)));
  pairs.forEach(([p, q], i) => {
    const product = {
      ...{ m, n, k, transposeA, transposeB },
      a: [aAt + 4 * p * m * k, transposeA ? m : k] as const,
      b: [bAt + 4 * q * k * n, transposeB ? k : n] as const,
      c: [cAt + 4 * i * m * n, n] as const,
    };
    if (!small) addParts(call.pool, product);
    else {
      addProduct(call.pool, product);
      if ((i + 1) % together === 0) call.pool.endChunk();
    }
  });
  if (small && pairs.length % together !== 0) call.pool.endChunk();
  call.pool.run();
  return c;
}

/** @param otherwise the cpu backend's kernel. */
export const batchMatMul =
  (otherwise: tf.KernelFunc): tf.KernelFunc =>
  (given) => {
    const { a, b } = given.inputs as Infos;
    if (a!.dtype !== 'float32' || b!.dtype !== 'float32') return otherwise(given);
    return withCall(given.backend, (call) => matMulFloat(call, a!, b!, given.attrs as unknown as MatMulAttributes));
  };

/** Runs another kernel of this backend. */
function run(name: string, inputs: Infos, attrs: object, backend: unknown): tf.TensorInfo {
  const kernel = tf.getKernel(name, 'blas')!;
  return kernel.kernelFunc({ inputs, attrs: attrs as tf.NamedAttrMap, backend: backend as object }) as tf.TensorInfo;
}

interface FusedAttributes extends MatMulAttributes {
  readonly activation: string | null;
  readonly leakyreluAlpha?: number;
}

/** Kernel and attributes of each activation. */
const ACTIVATIONS: Readonly<Record<string, string>> = {
  relu: tf.Relu,
  relu6: tf.Relu6,
  elu: tf.Elu,
  prelu: tf.Prelu,
  leakyrelu: tf.LeakyRelu,
  sigmoid: tf.Sigmoid,
};

export const fusedMatMul =
  (otherwise: tf.KernelFunc): tf.KernelFunc =>
  (given) => {
    const { a, b, bias, preluActivationWeights } = given.inputs as Infos;
    const attributes = given.attrs as unknown as FusedAttributes;
    const { activation, leakyreluAlpha } = attributes;
    const known = !activation || activation === 'linear' || activation in ACTIVATIONS;
    if (a!.dtype !== 'float32' || b!.dtype !== 'float32' || !known) return otherwise(given);
    const backend = given.backend as BlasBackend;
    const steps: ((x: tf.TensorInfo) => tf.TensorInfo)[] = [];
    if (bias) steps.push((x) => run(tf.Add, { a: x, b: bias }, {}, backend));
    if (activation && activation !== 'linear') {
      const name = ACTIVATIONS[activation]!;
      steps.push((x) =>
        activation === 'prelu'
          ? run(name, { x, alpha: preluActivationWeights! }, {}, backend)
          : run(name, { x }, activation === 'leakyrelu' ? { alpha: leakyreluAlpha } : {}, backend),
      );
    }
    let result = run(tf.BatchMatMul, { a: a!, b: b! }, attributes, backend);
    for (const step of steps) {
      const next = step(result);
      backend.disposeIntermediateTensorInfo(result);
      result = next;
    }
    return result;
  };
