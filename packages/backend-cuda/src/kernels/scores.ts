/** @file Scores of channels by low-rank predictors, without the products that they are norms of. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { C_TYPE } from '../storage.js';
import { product } from './matmul.js';
import { registerCudaKernel } from './register.js';
import { inScope, typeOf } from './tensors.js';
import { combinations, declareVariants, FLOATS } from './variants.js';

type Info = tf.TensorInfo;

/** Columns of a that the one-pass kernel has (gram-scores.cu): a tile of the tensor cores. */
const TILE = 8;

/**
 * ‖(x·a·b)ⱼ‖ over tokens as √(bⱼᵀ(PᵀP)bⱼ), P = x·a.
 * @param x [T, in]. @param a [in, r]. @param b [r, n].
 * @returns [n] in float, owned by the caller.
 */
export function gramScores(backend: CudaBackend, x: Info, a: Info, b: Info): Info {
  const [T, inputs] = x.shape as [number, number];
  const [r, n] = b.shape as [number, number];
  const [A, B] = [a, b].map((info) => C_TYPE[typeOf(backend, info)]) as [string, string];
  return inScope(backend, (scope) => {
    const y = scope.output([n], 'float32', 'f32');
    const [ofX, ofB] = [x, b].map((info) => backend.address(info)) as [number, number];
    const score = (parts: Info, count: number, side: number) => {
      const kernel = backend.kernel('gram-scores', 'gram_scores', 'pppiiii', { TYPE_A: A, TYPE_B: B });
      const addresses = [backend.address(parts), ofB, backend.address(y)];
      backend.launch(kernel, [Math.ceil(n / 256)], [256], [...addresses, count, side, r, n], 4 * r * r);
    };
    if (backend.physical(x) === 'bf16' && r <= TILE && inputs % 32 === 0 && ofX % 16 === 0) {
      const count = Math.ceil(T / 32);
      const parts = scope.temporary(backend.output([count, TILE, TILE], 'float32', 'f32'));
      const kernel = backend.kernel('gram-scores', 'gram_parts', 'pppiii', { TYPE_A: A, TYPE_B: B });
      const addresses = [ofX, backend.address(a), backend.address(parts)];
      backend.launch(kernel, [count], [512], [...addresses, T, inputs, r]);
      score(parts, count, TILE);
      return y;
    }
    const p = scope.temporary(
      product(backend, scope.temporary(backend.as(x, 'f32')), scope.temporary(backend.as(a, 'f32'))),
    );
    score(scope.temporary(product(backend, p, p, true)), 1, r);
    return y;
  });
}

/** The gradient of x [T, in] in its type, owned by the caller; nothing comes from channels whose score is zero. */
export function gramScoresGrad(backend: CudaBackend, x: Info, a: Info, b: Info, scores: Info, dy: Info): Info {
  const [r, n] = b.shape as [number, number];
  const B = C_TYPE[typeOf(backend, b)];
  return inScope(backend, (scope) => {
    const [along, norms] = [dy, scores].map((info) => scope.address(info, 'f32'));
    const weighted = scope.temporary(backend.output([r, n], 'float32', 'f32'));
    const kernel = backend.kernel('gram-scores', 'weigh_columns', 'ppppii', { TYPE_A: B, TYPE_B: B });
    const addresses = [backend.address(b), along!, norms!, backend.address(weighted)];
    backend.launch(kernel, [Math.ceil((r * n) / 256)], [256], [...addresses, r, n]);
    const plainA = scope.temporary(backend.as(a, 'f32'));
    const p = scope.temporary(product(backend, scope.temporary(backend.as(x, 'f32')), plainA));
    const dp = scope.temporary(product(backend, p, scope.temporary(product(backend, weighted, b, false, true))));
    const dx = product(backend, dp, plainA, false, true);
    if (backend.physical(x) !== 'bf16') return dx;
    return backend.as(scope.temporary(dx), 'bf16');
  });
}

/**
 * Norm over rows of silu(x·gateA·gateB) ⊙ (x·upA·upB).
 * @param x [B, in], few rows. @param gateA [in, r], as upA. @param gateB [r, n], as upB.
 * @returns [n] in float, owned by the caller.
 */
export function gatedScores(backend: CudaBackend, x: Info, gateA: Info, gateB: Info, upA: Info, upB: Info): Info {
  const [rows, inputs] = x.shape as [number, number];
  const [r, n] = gateB.shape as [number, number];
  return inScope(backend, (scope) => {
    const both = (one: Info, other: Info) => {
      const type = typeOf(backend, one, other);
      return [C_TYPE[type], ...[one, other].map((info) => scope.address(info, type))] as const;
    };
    const [A, ...ofA] = both(gateA, upA);
    const [B, ...ofB] = both(gateB, upB);
    const types = { X: C_TYPE[backend.physical(x)], TYPE_A: A, TYPE_B: B };
    const p = backend.address(scope.temporary(backend.output([2, rows, r], 'float32', 'f32')));
    const y = scope.output([n], 'float32', 'f32');
    const low = backend.kernel('gated-scores', 'predict_low_rank', 'ppppii', types);
    backend.launch(low, [rows, 2, Math.ceil(r / 8)], [256], [backend.address(x), ...ofA, p, inputs, r]);
    const high = backend.kernel('gated-scores', 'gated_scores', 'ppppiii', types);
    backend.launch(high, [Math.ceil(n / 128)], [128], [p, ...ofB, backend.address(y), rows, n, r]);
    return y;
  });
}

declareVariants('gram-scores', combinations({ TYPE_A: FLOATS, TYPE_B: FLOATS }));
declareVariants('gated-scores', combinations({ X: FLOATS, TYPE_A: FLOATS, TYPE_B: FLOATS }));

registerCudaKernel<'x' | 'a' | 'b'>('SpftGramScores', ({ backend, inputs: { x, a, b } }) =>
  gramScores(backend, x, a, b),
);
registerCudaKernel<'x' | 'a' | 'b' | 'scores' | 'dy'>(
  'SpftGramScoresGrad',
  ({ backend, inputs: { x, a, b, scores, dy } }) => gramScoresGrad(backend, x, a, b, scores, dy),
);
registerCudaKernel<'x' | 'gateA' | 'gateB' | 'upA' | 'upB'>(
  'SpftGatedScores',
  ({ backend, inputs: { x, gateA, gateB, upA, upB } }) => gatedScores(backend, x, gateA, gateB, upA, upB),
);
