/** @file Scores of the gated MLP's channels by low-rank predictors of gate and up. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';
import { scoringLane } from '../project/layers.js';

type Info = tf.TensorInfo;

/** Of a block, as in the kernel; and rows from which on a warp has one by itself. */
const [WARPS, MANY_ROWS] = [8, 64];

/**
 * Norm over rows of silu(x·gateA·gateB) ⊙ (x·upA·upB).
 * @param x [B, in], up to some hundred rows. @param gateA [in, r], as upA. @param gateB [r, n], as upB.
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
    const low = backend.kernel('gated-scores', 'predict_low_rank', 'ppppiii', types);
    const ofX = backend.address(x);
    const down = rows < MANY_ROWS ? 1 : WARPS;
    const grid = [Math.ceil(rows / down), 2, Math.ceil(r / 8)] as const;
    backend.launch(low, grid, [(32 * WARPS) / down, down], [ofX, ...ofA, p, rows, inputs, r]);
    const high = backend.kernel('gated-scores', 'gated_scores', 'ppppiii', types);
    backend.launch(high, [Math.ceil(n / 32)], [32, 32], [p, ...ofB, backend.address(y), rows, n, r]);
    return y;
  });
}

declareVariants('gated-scores', combinations({ X: FLOATS, TYPE_A: FLOATS, TYPE_B: FLOATS }));

/** Kernels of the contract. */
export const gatedScoresKernels = {
  SpftGatedScores: ({ backend, inputs: { x, gateA, gateB, upA, upB } }) =>
    backend.beside(scoringLane(backend, x.shape[1]!, gateB.shape[1]!), () =>
      gatedScores(backend, x, gateA, gateB, upA, upB),
    ),
} satisfies CudaKernels;
