/**
 * @file DoRA on top of a base product, y = c ⊙ (base − b + s·(x·Aᵀ)·Bᵀ) + b with c = m / ‖W + s·B·A‖ by output, its norms and its gradients.
 *
 * Of a large bf16 weight the norms are ‖W‖² + 2s·B·(W·Aᵀ)ᵀ + s²·B(A·Aᵀ)Bᵀ by row, so that no sum of the weight's size is made; ‖W‖² is kept with
 * the frozen weight. Of a small one, where launches are what takes time, one kernel makes the sum row by row and measures it; of a float weight the sum
 * is made in memory. Both are exact where a row nearly vanishes.
 */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, halfOf, inScope, multiply, rowsToABlock, type Scope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import { product } from '../../tfjs/matmul.js';
import type { CudaKernels } from '../contract.js';
import { branchGrad, loraLinear, outerGrad } from './lora-linear.js';

type Info = tf.TensorInfo;

/** Multiplications out·in·r below which one kernel makes the norms: it makes them without tensor cores, in some microseconds. */
const SMALL = 2 ** 26;
/** Of `turned_norms`: rows of a block, and what it has room for. */
const [TURNED_ROWS, MOST_RANK] = [8, 64];

/** Sum of the squares of each row of `matrix` [rows, n], or its root, to `address`. */
function rowSquares(backend: CudaBackend, matrix: Info, address: number, root: 0 | 1): void {
  const [rows, n] = matrix.shape as [number, number];
  const kernel = backend.kernel('dora-linear', 'row_squares', 'ppiii', { W: C_TYPE[backend.physical(matrix)] });
  const from = backend.address(matrix);
  backend.launch(kernel, [rows], [256], [from, address, n, root, aligned(n, from)]);
}

/**
 * ‖W + s·B·A‖ by row.
 * @param weight [out, in]. @param loraA [r, in]. @param loraB [out, r].
 * @returns [out] in float, owned by the caller.
 */
export function doraNorms(backend: CudaBackend, weight: Info, loraA: Info, loraB: Info, scaling: number): Info {
  const [out, inputs] = weight.shape as [number, number];
  const r = loraA.shape[0]!;
  return inScope(backend, (scope) => {
    const norms = scope.output([out], 'float32', 'f32');
    if (out === 0) return norms;
    const [a, b] = [loraA, loraB].map((info) => scope.temporary(backend.as(info, 'f32'))) as [Info, Info];
    // Of a weight in a stored form what the form gives, unpacked for this.
    const squaresOf = weight;
    weight = backend.codebook(weight) ? scope.temporary(backend.as(weight, backend.weightType)) : weight;
    if (backend.physical(weight) !== 'bf16') {
      const sum = scope.temporary(backend.output([out, inputs], 'float32', 'f32'));
      multiply(backend, {
        ...{ m: out, n: inputs, k: r, type: 'f32', outputType: 'f32', alpha: scaling, beta: 1 },
        ...{ a: backend.address(b), b: backend.address(a), c: backend.address(weight), d: backend.address(sum) },
      });
      rowSquares(backend, sum, backend.address(norms), 1);
      return norms;
    }
    if (out * inputs * r <= SMALL && r <= MOST_RANK) {
      const kernel = backend.kernel('dora-linear', 'turned_norms', 'ppppiiif', { W: 'bf16' });
      const addresses = [weight, a, b, norms].map((info) => backend.address(info));
      backend.launch(kernel, [Math.ceil(out / TURNED_ROWS)], [256], [...addresses, out, inputs, r, scaling]);
      return norms;
    }
    const squares = backend.derived(squaresOf, 'row squares', 4 * out, (at) => rowSquares(backend, weight, at, 0));
    const u = scope.temporary(backend.output([out, r], 'float32', 'f32'));
    multiply(backend, {
      ...{ m: out, n: r, k: inputs, transposeB: true, type: 'bf16', outputType: 'f32' },
      ...{ a: backend.address(weight), b: halfOf(backend, loraA), d: backend.address(u) },
    });
    const gram = scope.temporary(product(backend, a, a, false, true));
    const v = scope.temporary(product(backend, b, gram));
    const kernel = backend.kernel('dora-linear', 'dora_norms', 'pppppiif');
    const addresses = [squares, ...[b, u, v, norms].map((info) => backend.address(info))];
    backend.launch(kernel, [Math.ceil(out / 8)], [256], [...addresses, out, r, scaling]);
    return norms;
  });
}

/** y [T, out] and h = x·Aᵀ [T, r], owned by the caller, in the types that `loraLinear` says. */
export function doraLinear(
  backend: CudaBackend,
  tensors: Readonly<Record<'x' | 'base' | 'loraA' | 'loraB' | 'magnitude' | 'norms', Info>> & { readonly bias?: Info },
  scaling: number,
): [y: Info, h: Info] {
  const { x, base, loraA, loraB, magnitude, norms, bias } = tensors;
  const [y, h] = loraLinear(backend, x, base, loraA, loraB, scaling);
  rescaleTo(backend, y, { magnitude, norms, bias }, y);
  return [y, h];
}

/** y = c ⊙ (z − b) + b + residual with c = magnitude / norms; y [T, out] may be z, and is of its type. */
export function rescaleTo(
  backend: CudaBackend,
  z: Info,
  { magnitude, norms, bias, residual }: { magnitude: Info; norms: Info; bias?: Info; residual?: Info },
  y: Info,
): void {
  const [rows, n] = y.shape as [number, number];
  if (rows * n === 0) return;
  inScope(backend, (scope) => {
    const physical = backend.physical(z);
    const scales = [magnitude, norms].map((info) => scope.address(info, 'f32'));
    const types = { Y: C_TYPE[physical], V: bias ? C_TYPE[backend.physical(bias)] : 'float' };
    const kernel = backend.kernel('dora-linear', 'rescale', 'ppppppiiii', types);
    const across = Math.ceil(n / 1024);
    const count = rowsToABlock(backend, rows, across, 8);
    const tensors = [backend.address(z), residual ? scope.address(residual, physical) : 0, backend.address(y)];
    const numbers = [rows, n, count, aligned(n, ...tensors)];
    const addresses = [...tensors, ...scales, bias ? backend.address(bias) : 0];
    backend.launch(kernel, [across, Math.ceil(rows / count)], [128], [...addresses, ...numbers]);
  });
}

/**
 * What rescaling does to gradients: dz = c ⊙ dy in dy's type and dmagnitude = Σ dy ⊙ z / norms in float, owned by the caller.
 */
export function rescaleGrad(
  backend: CudaBackend,
  z: Info,
  magnitude: Info,
  norms: Info,
  dy: Info,
): [dz: Info, dmagnitude: Info] {
  const [rows, n] = dy.shape as [number, number];
  return inScope(backend, (scope) => {
    const dz = scope.output([rows, n], 'float32', backend.physical(dy));
    const dmagnitude = scope.output([n], 'float32', 'f32');
    const [scale, norm] = [magnitude, norms].map((info) => scope.address(info, 'f32')) as [number, number];
    const { partial, chunks } = baseGrad(backend, scope, dy, z, scale, norm, 0, dz);
    const last = backend.kernel('dora-linear', 'dora_magnitude_grad', 'ppppppiii');
    // Without a branch's sums, which `partial` of z has in it.
    const all = [partial, 0, 0, scale, norm, backend.address(dmagnitude)];
    backend.launch(last, [Math.ceil(n / 8)], [256], [...all, n, 0, chunks]);
    return [dz, dmagnitude];
  });
}

/** dbase = c ⊙ dy, and the parts of Σ dy ⊙ (base − bias) by chunks of rows. */
function baseGrad(
  backend: CudaBackend,
  scope: Scope,
  dy: Info,
  base: Info,
  scale: number,
  norm: number,
  bias: Info | 0,
  dbase: Info,
): { readonly partial: number; readonly chunks: number } {
  const [rows, n] = dy.shape as [number, number];
  const [D, Y] = [typeOf(backend, dy), typeOf(backend, base)];
  const [ofDy, ofBase, to] = [scope.address(dy, D), scope.address(base, Y), backend.address(dbase)];
  const across = Math.ceil(n / 64);
  const count = rowsToABlock(backend, rows, Math.max(1, across), 32);
  const chunks = Math.ceil(rows / count);
  const partial = backend.address(scope.temporary(backend.output([chunks, n], 'float32', 'f32')));
  const types = { Y: C_TYPE[Y], D: C_TYPE[D], V: bias ? C_TYPE[backend.physical(bias)] : 'float' };
  const pass = backend.kernel('dora-linear', 'dora_base_grad', 'pppppppiiii', types);
  const addresses = [ofDy, ofBase, scale, norm, bias ? backend.address(bias) : 0, to, partial];
  const numbers = [rows, n, count, aligned(n, ofDy, ofBase, to)];
  backend.launch(pass, [across, chunks], [8, 32], [...addresses, ...numbers]);
  return { partial, chunks };
}

type GradInputs = 'x' | 'base' | 'h' | 'loraA' | 'loraB' | 'magnitude' | 'norms' | 'dy';

/** dx, dbase, dA, dB, dmagnitude, owned by the caller; the last three in float. */
export function doraLinearGrad(
  backend: CudaBackend,
  tensors: Readonly<Record<GradInputs, Info>> & { readonly bias?: Info },
  scaling: number,
): Info[] {
  const { x, base, h, loraA, loraB, magnitude, norms, dy, bias } = tensors;
  const [rows, n] = dy.shape as [number, number];
  const r = h.shape[1]!;
  return inScope(backend, (scope) => {
    const [scale, norm, b] = [magnitude, norms, loraB].map((info) => scope.address(info, 'f32')) as [
      number,
      number,
      number,
    ];
    const dbase = scope.output([rows, n], 'float32', typeOf(backend, dy));
    const { partial, chunks } = baseGrad(backend, scope, dy, base, scale, norm, bias ?? 0, dbase);

    const [dx, dA] = branchGrad(backend, x, loraA, loraB, dbase, scaling).map((info) => scope.result(info)) as [
      Info,
      Info,
    ];
    const dB = scope.result(outerGrad(backend, dy, h, scaling));
    const dmagnitude = scope.output([n], 'float32', 'f32');
    const last = backend.kernel('dora-linear', 'dora_magnitude_grad', 'ppppppiii');
    const all = [partial, backend.address(dB), b, scale, norm, backend.address(dmagnitude)];
    backend.launch(last, [Math.ceil(n / 8)], [256], [...all, n, r, chunks]);
    return [dx, dbase, dA, dB, dmagnitude];
  });
}

declareVariants('dora-linear', [
  {},
  ...combinations({ W: FLOATS }),
  ...combinations({ Y: FLOATS, V: FLOATS }),
  ...combinations({ Y: FLOATS, D: FLOATS, V: FLOATS }),
]);

// Of the inputs of both, bias may be missing.

/** Kernels of the contract. */
export const doraLinearKernels = {
  SpftDoraNorms: ({ backend, inputs: { weight, loraA, loraB }, attributes: { scaling } }) =>
    doraNorms(backend, weight, loraA, loraB, scaling),
  SpftDoraLinear: ({ backend, inputs, attributes: { scaling } }) => doraLinear(backend, inputs, scaling),
  SpftDoraLinearGrad: ({ backend, inputs, attributes: { scaling } }) => doraLinearGrad(backend, inputs, scaling),
  SpftRescaleColumns: ({ backend, inputs: { z, magnitude, norms } }) => {
    const y = backend.output(z.shape, 'float32', backend.physical(z));
    rescaleTo(backend, z, { magnitude, norms }, y);
    return y;
  },
} satisfies CudaKernels;
