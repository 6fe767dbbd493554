/** @file Scores of channels by low-rank predictors, without the products that they are norms of; and their gradient. */

import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import { product } from '../../tfjs/matmul.js';
import type { CudaKernels } from '../contract.js';
import { scoringLane } from '../project/layers.js';

type Info = tf.TensorInfo;

/** Columns of a that the one-pass kernel has (gram-scores.cu): a tile of the tensor cores. */
const TILE = 8;
/** Predictors that it takes at a time. */
const MOST = 3;

/** A low-rank predictor: a [in, r], b [r, n]. */
export interface LowRank {
  readonly a: Info;
  readonly b: Info;
}

/**
 * ‖(x·a·b)ⱼ‖ over tokens as √(bⱼᵀ(PᵀP)bⱼ), P = x·a, for each predictor.
 * @param x [T, in].
 * @returns [n] in float for each, owned by the caller.
 */
export function gramScores(backend: CudaBackend, x: Info, predictors: readonly LowRank[]): Info[] {
  return inScope(backend, (scope) => {
    const scores: Info[] = [];
    for (let begin = 0; begin < predictors.length; ) {
      const first = predictors[begin]!;
      const rest = predictors.slice(begin, begin + MOST);
      const together = rest.every(
        (predictor) => isQuick(backend, x, predictor) && likeEachOther(backend, first, predictor),
      );
      const some = together ? rest : [first];
      scores.push(...gramScoresOf(backend, x, some).map((info) => scope.result(info)));
      begin += some.length;
    }
    return scores;
  });
}

const isQuick = (backend: CudaBackend, x: Info, { a }: LowRank): boolean =>
  backend.physical(x) === 'bf16' && a.shape[1]! <= TILE && a.shape[0]! % 32 === 0 && backend.address(x) % 16 === 0;

const likeEachOther = (backend: CudaBackend, one: LowRank, other: LowRank): boolean =>
  backend.physical(one.a) === backend.physical(other.a) && backend.physical(one.b) === backend.physical(other.b);

/** Address of what the one-pass kernel multiplies by, which is kept with a: as many bytes as it has in float at rank 8. */
function fragmentsOf(backend: CudaBackend, a: Info, types: Readonly<Record<string, string>>): number {
  const [inputs, r] = a.shape as [number, number];
  return backend.derived(a, 'fragments', 4 * TILE * inputs, (address) => {
    const kernel = backend.kernel('gram-scores', 'gram_fragments', 'ppii', types);
    backend.launch(kernel, [Math.ceil(inputs / 256)], [256], [backend.address(a), address, inputs, r]);
  });
}

/** Of up to three predictors alike, or of one. */
function gramScoresOf(backend: CudaBackend, x: Info, predictors: readonly LowRank[]): Info[] {
  const [T, inputs] = x.shape as [number, number];
  const first = predictors[0]!;
  const types = { TYPE_A: C_TYPE[typeOf(backend, first.a)], TYPE_B: C_TYPE[typeOf(backend, first.b)] };
  const ranks = predictors.map(({ b }) => b.shape[0]!);
  const channels = predictors.map(({ b }) => b.shape[1]!);
  /** Arguments for as many predictors as the kernels have parameters for. */
  const three = (values: readonly number[]) => [0, 1, 2].map((n) => values[n] ?? 0);
  return inScope(backend, (scope) => {
    const ys = channels.map((n) => scope.output([n], 'float32', 'f32'));
    const score = (parts: Info, count: number, side: number) => {
      const kernel = backend.kernel('gram-scores', 'gram_scores', `${'p'.repeat(7)}${'i'.repeat(8)}`, types);
      const bs = predictors.map(({ b }) => backend.address(b));
      const addresses = [backend.address(parts), ...three(bs), ...three(ys.map((y) => backend.address(y)))];
      const grid = [Math.ceil(Math.max(...channels) / 256), predictors.length] as const;
      const numbers = [count, side, ...three(ranks), ...three(channels)];
      backend.launch(kernel, grid, [256], [...addresses, ...numbers], 4 * Math.max(...ranks) ** 2);
    };
    if (isQuick(backend, x, first)) {
      const count = Math.ceil(T / 32);
      const parts = scope.temporary(backend.output([predictors.length, count, TILE, TILE], 'float32', 'f32'));
      const kernel = backend.kernel('gram-scores', 'gram_parts', 'pppppiii', types);
      const as = predictors.map(({ a }) => fragmentsOf(backend, a, types));
      const addresses = [backend.address(x), ...three(as), backend.address(parts)];
      const numbers = [T, inputs, predictors.length];
      backend.launch(kernel, [count], [512], [...addresses, ...numbers]);
      score(parts, count, TILE);
      return ys;
    }
    const [plainX, plainA] = [x, first.a].map((info) => scope.temporary(backend.as(info, 'f32'))) as [Info, Info];
    const p = scope.temporary(product(backend, plainX, plainA));
    score(scope.temporary(product(backend, p, p, true)), 1, ranks[0]!);
    return ys;
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

declareVariants('gram-scores', combinations({ TYPE_A: FLOATS, TYPE_B: FLOATS }));

/** Beside what is launched next, in a small layer. */
const beside = (backend: CudaBackend, x: Info, predictors: readonly LowRank[]): Info[] => {
  const channels = Math.max(...predictors.map(({ b }) => b.shape[1]!));
  return backend.beside(scoringLane(backend, x.shape[1]!, channels), () => gramScores(backend, x, predictors));
};

/** Kernels of the contract. */
export const gramScoresKernels = {
  SpftGramScores: ({ backend, inputs: { x, a, b } }) => beside(backend, x, [{ a, b }])[0]!,
  SpftGramScoresOfAll: ({ backend, inputs, attributes: { count } }) => {
    const predictors = Array.from({ length: count }, (_, n) => ({ a: inputs[`a${n}`]!, b: inputs[`b${n}`]! }));
    return beside(backend, inputs.x!, predictors);
  },
  SpftGramScoresGrad: ({ backend, inputs: { x, a, b, scores, dy } }) => gramScoresGrad(backend, x, a, b, scores, dy),
} satisfies CudaKernels;
