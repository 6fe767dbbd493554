/**
 * @file Ops of tfjs's own that give wrong numbers on WebGPU or fail there, tfjs 4.22, and what stands in their place.
 *
 * - `AddN` binds a buffer for each of its tensors and one for the sum, however many a shader may have: beyond that it gives zeros.
 * - `Sum` of a tensor without elements divides by their number, and asks for a buffer of NaN bytes.
 */
import * as tf from '@tensorflow/tfjs';
import { sizeOf } from '../shared/call.js';

/** Tensors of one kernel at most: a shader has eight buffers for certain, and one is the sum's. */
const MOST = 7;

type Params = Parameters<tf.KernelFunc>[0];

function addN(original: tf.KernelFunc, { backend, attrs, inputs }: Params): tf.TensorInfo {
  // A list, in spite of what the type of a kernel's inputs says.
  const left = [...(inputs as unknown as tf.TensorInfo[])];
  let made: tf.TensorInfo | null = null;
  do {
    const group: tf.TensorInfo[] = left.splice(0, made ? MOST - 1 : MOST);
    const few = (made ? [made, ...group] : group) as unknown as tf.NamedTensorInfoMap;
    const sum = original({ backend, attrs, inputs: few }) as tf.TensorInfo;
    if (made) (backend as tf.KernelBackend).disposeData(made.dataId);
    made = sum;
  } while (left.length > 0);
  return made;
}

function sum(original: tf.KernelFunc, params: Params): tf.TensorInfo {
  const x = params.inputs.x as tf.TensorInfo;
  if (sizeOf(x.shape) > 0) return original(params) as tf.TensorInfo;
  const { axis, keepDims } = params.attrs as unknown as tf.SumAttrs;
  const axes = tf.util.parseAxisParam(axis ?? x.shape.map((_, n) => n), x.shape);
  const shape = x.shape.flatMap((n, at) => (axes.includes(at) ? (keepDims ? [1] : []) : [n]));
  const dtype = x.dtype === 'bool' ? 'int32' : x.dtype;
  const backend = params.backend as tf.KernelBackend;
  const dataId = backend.write(tf.util.makeZerosTypedArray(sizeOf(shape), dtype as 'float32'), shape, dtype);
  return { dataId, shape, dtype };
}

const REPAIRED = { [tf.AddN]: addN, [tf.Sum]: sum };

/** Puts them in the place of tfjs's. */
export function repairTfjsKernels(backendName: string): void {
  for (const [kernelName, repaired] of Object.entries(REPAIRED)) {
    const config = tf.getKernel(kernelName, backendName);
    if (!config) continue;
    const { kernelFunc } = config;
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ ...config, kernelFunc: (params) => repaired(kernelFunc, params) });
  }
}
