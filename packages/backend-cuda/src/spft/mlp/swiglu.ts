/** @file SwiGLU, silu(gate) ⊙ up, and both its gradients in one pass, of whole tensors. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import type { CudaKernels } from '../contract.js';
import { gatedActivation, gatedActivationGrad } from './gated-activation.js';

type Info = tf.TensorInfo;

/** silu(gate) ⊙ up [T, I], owned by the caller: bf16 where both are, else float. */
export function swiglu(backend: CudaBackend, gate: Info, up: Info): Info {
  const type = typeOf(backend, gate, up);
  const [rows, columns] = gate.shape as [number, number];
  return inScope(backend, (scope) => {
    const places = [gate, up].map((info) => ({ address: scope.address(info, type), stride: columns }));
    const y = scope.output(gate.shape, 'float32', type);
    const out = { address: backend.address(y), stride: columns };
    gatedActivation(backend, places[0]!, places[1]!, out, { rows, columns, type });
    return y;
  });
}

/** The gradients of gate and of up, owned by the caller. */
export function swigluGrad(backend: CudaBackend, gate: Info, up: Info, dy: Info): [Info, Info] {
  const type = typeOf(backend, gate, up);
  const [rows, columns] = gate.shape as [number, number];
  return inScope(backend, (scope) => {
    const [g, u, d] = [gate, up, dy].map((info) => ({ address: scope.address(info, type), stride: columns }));
    const gradients = [gate, up].map((info) => scope.output(info.shape, 'float32', type)) as [Info, Info];
    const [dgate, dup] = gradients.map((info) => ({ address: backend.address(info), stride: columns }));
    const extent = { rows, columns, type };
    gatedActivationGrad(backend, { gate: g!, up: u!, dy: d! }, { dgate: dgate!, dup: dup! }, extent);
    return gradients;
  });
}

/** Kernels of the contract. */
export const swigluKernels = {
  SpftSwiglu: ({ backend, inputs: { gate, up } }) => swiglu(backend, gate, up),
  SpftSwigluGrad: ({ backend, inputs: { gate, up, dy } }) => swigluGrad(backend, gate, up, dy),
} satisfies CudaKernels;
