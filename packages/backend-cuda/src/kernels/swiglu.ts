/** @file SwiGLU, silu(gate) ⊙ up, and both its gradients in one pass. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { C_TYPE } from '../storage.js';
import { registerCudaKernel } from './register.js';
import { inScope, typeOf } from './tensors.js';
import { combinations, declareVariants, FLOATS } from './variants.js';

type Info = tf.TensorInfo;

/** Runs `entry` with a thread for every eight of `size` numbers. */
function elementwise(backend: CudaBackend, entry: string, X: string, addresses: readonly number[], size: number): void {
  const onWholeVectors = addresses.every((address) => address % 16 === 0) ? 1 : 0;
  const kernel = backend.kernel('swiglu', entry, `${'p'.repeat(addresses.length)}li`, { X });
  backend.launch(kernel, [Math.ceil(size / 2048)], [256], [...addresses, size, onWholeVectors]);
}

/** silu(gate) ⊙ up, owned by the caller: bf16 where both are, else float. */
export function swiglu(backend: CudaBackend, gate: Info, up: Info): Info {
  const X = typeOf(backend, gate, up);
  return inScope(backend, (scope) => {
    const addresses = [gate, up].map((info) => scope.address(info, X));
    const y = scope.output(gate.shape, 'float32', X);
    const size = tf.util.sizeFromShape(gate.shape);
    elementwise(backend, 'swiglu', C_TYPE[X], [...addresses, backend.address(y)], size);
    return y;
  });
}

/** The gradients of gate and of up, owned by the caller. */
export function swigluGrad(backend: CudaBackend, gate: Info, up: Info, dy: Info): [Info, Info] {
  const X = typeOf(backend, gate, up);
  return inScope(backend, (scope) => {
    const addresses = [gate, up, dy].map((info) => scope.address(info, X));
    const gradients = [gate, up].map((info) => scope.output(info.shape, 'float32', X)) as [Info, Info];
    const size = tf.util.sizeFromShape(gate.shape);
    const all = [...addresses, ...gradients.map((info) => backend.address(info))];
    elementwise(backend, 'swiglu_grad', C_TYPE[X], all, size);
    return gradients;
  });
}

declareVariants('swiglu', combinations({ X: FLOATS }));

registerCudaKernel<'gate' | 'up'>('SpftSwiglu', ({ backend, inputs: { gate, up } }) => swiglu(backend, gate, up));
registerCudaKernel<'gate' | 'up' | 'dy'>('SpftSwigluGrad', ({ backend, inputs: { gate, up, dy } }) =>
  swigluGrad(backend, gate, up, dy),
);
