/**
 * @file LoRA on top of a base product, y = base + s·(x·Aᵀ)·Bᵀ, and its gradients.
 *
 * The second product adds to base on its way out, so the adapter costs no pass of its own over [T, out]. With activations in bf16 the
 * adapter's matrices are multiplied in bf16 too (`halfOf`); their gradients come out in float.
 */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { MatrixType } from '../../device/gemm.js';
import { halfOf, inScope, multiply, type Scope, typeOf } from '../../shared/tensors.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Address of an adapter's matrix in the type of its products. */
export const adapterIn = (backend: CudaBackend, type: MatrixType, info: Info, scope: Scope): number =>
  type === 'bf16' ? halfOf(backend, info) : scope.address(info, 'f32');

/**
 * @param x [T, in]. @param base [T, out]. @param loraA [r, in]. @param loraB [out, r].
 * @returns y [T, out] and h = x·Aᵀ [T, r], owned by the caller: in bf16 where x is (y: where base is too), else float.
 */
export function loraLinear(
  backend: CudaBackend,
  x: Info,
  base: Info,
  loraA: Info,
  loraB: Info,
  scaling: number,
): [Info, Info] {
  const type = typeOf(backend, x);
  const outputType = typeOf(backend, x, base);
  const [T, inputs] = x.shape as [number, number];
  const [out, r] = loraB.shape as [number, number];
  return inScope(backend, (scope) => {
    const ofX = scope.address(x, type);
    const ofBase = scope.address(base, outputType);
    const h = scope.output([T, r], 'float32', type);
    const y = scope.output([T, out], 'float32', outputType);
    const a = adapterIn(backend, type, loraA, scope);
    const b = adapterIn(backend, type, loraB, scope);
    const [ofH, ofY] = [backend.address(h), backend.address(y)];
    multiply(backend, {
      ...{ m: T, n: r, k: inputs, transposeB: true, type, outputType: type },
      ...{ a: ofX, b: a, d: ofH },
    });
    multiply(backend, {
      ...{ m: T, n: out, k: r, transposeB: true, type, outputType, alpha: scaling, beta: 1 },
      ...{ a: ofH, b, c: ofBase, d: ofY },
    });
    return [y, h];
  });
}

/**
 * The gradients that go through h: dh = s·dy·B, dx = dh·A, dA = dhᵀ·x.
 * @param dy of what s·h·Bᵀ was added to.
 * @returns dx [T, in] and dA [r, in] (float), owned by the caller.
 */
export function branchGrad(
  backend: CudaBackend,
  x: Info,
  loraA: Info,
  loraB: Info,
  dy: Info,
  scaling: number,
): [dx: Info, dA: Info] {
  const type = typeOf(backend, x);
  const [T, inputs] = x.shape as [number, number];
  const [out, r] = loraB.shape as [number, number];
  return inScope(backend, (scope) => {
    const [ofX, ofDy] = [x, dy].map((info) => scope.address(info, type));
    const dh = backend.address(scope.temporary(backend.output([T, r], 'float32', type)));
    const dx = scope.output([T, inputs], 'float32', type);
    const dA = scope.output([r, inputs], 'float32', 'f32');
    const a = adapterIn(backend, type, loraA, scope);
    const b = adapterIn(backend, type, loraB, scope);
    const common = { type, outputType: type };
    multiply(backend, { ...common, m: T, n: r, k: out, alpha: scaling, a: ofDy!, b, d: dh });
    multiply(backend, { ...common, m: T, n: inputs, k: r, a: dh, b: a, d: backend.address(dx) });
    multiply(backend, {
      ...{ m: r, n: inputs, k: T, transposeA: true, type, outputType: 'f32' },
      ...{ a: dh, b: ofX!, d: backend.address(dA) },
    });
    return [dx, dA];
  });
}

/** s·dyᵀ·h [out, r] in float, owned by the caller. */
export function outerGrad(backend: CudaBackend, dy: Info, h: Info, scaling: number): Info {
  const type = typeOf(backend, h);
  const [T, out] = dy.shape as [number, number];
  const r = h.shape[1]!;
  return inScope(backend, (scope) => {
    const [ofDy, ofH] = [dy, h].map((info) => scope.address(info, type));
    const sums = scope.output([out, r], 'float32', 'f32');
    multiply(backend, {
      ...{ m: out, n: r, k: T, transposeA: true, type, outputType: 'f32', alpha: scaling },
      ...{ a: ofDy!, b: ofH!, d: backend.address(sums) },
    });
    return sums;
  });
}

/** Kernels of the contract. */
export const loraLinearKernels = {
  SpftLoraLinear: ({ backend, inputs: { x, base, loraA, loraB }, attributes: { scaling } }) =>
    loraLinear(backend, x, base, loraA, loraB, scaling),
  SpftLoraLinearGrad: ({ backend, inputs: { x, h, loraA, loraB, dy }, attributes: { scaling } }) => {
    return inScope(backend, (scope) => {
      const dB = scope.result(outerGrad(backend, dy, h, scaling));
      return [...branchGrad(backend, x, loraA, loraB, dy, scaling), dB];
    });
  },
} satisfies CudaKernels;
