/** @file The channels of the highest scores, and from kv channels to query channels: int32 lists, ascending, that never leave the GPU. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { inScope } from '../../shared/tensors.js';
import { combinations, declareVariants } from '../../shared/variants.js';
import type { CudaKernels } from '../contract.js';
import { choiceLane } from '../project/layers.js';

type Info = tf.TensorInfo;

/** So many scores a thread can keep in registers (top-k-selection.cu). */
const HELD = [1, 2, 4, 8, 11, 14, 16, 32];
/** The fewest that will do, or 0 where there are too many. */
const perThread = (n: number): number => HELD.find((count) => n <= 1024 * count) ?? 0;

/**
 * @param scores [n].
 * @returns int32 [kept], owned by the caller: the channels of the highest scores, ascending; of equal scores the lower channels.
 */
export function topK(backend: CudaBackend, scores: Info, kept: number): Info {
  const n = scores.shape[0]!;
  return inScope(backend, (scope) => {
    const from = scope.address(scores, 'f32');
    const indices = scope.output([kept], 'int32');
    const kernel = backend.kernel('top-k-selection', 'top_k', 'ppii', { PER_THREAD: perThread(n) });
    if (kept > 0) backend.launch(kernel, [1], [1024], [from, backend.address(indices), n, kept]);
    return indices;
  });
}

/**
 * Score of each kv channel for q and k together: the mean q score of its group times its k score.
 * @param scoreQ [N·d]. @param scoreK [K·d].
 * @returns [K·d] in float, owned by the caller.
 */
export function combineQueryKeyScores(
  backend: CudaBackend,
  scoreQ: Info,
  scoreK: Info,
  group: number,
  headDim: number,
): Info {
  const channels = scoreK.shape[0]!;
  return inScope(backend, (scope) => {
    const scores = [scoreQ, scoreK].map((info) => scope.address(info, 'f32'));
    const y = scope.output([channels], 'float32', 'f32');
    const kernel = backend.kernel('query-channels', 'combine_scores', 'pppiii');
    const numbers = [channels, group, headDim];
    backend.launch(kernel, [Math.ceil(channels / 128)], [128], [...scores, backend.address(y), ...numbers]);
    return y;
  });
}

/**
 * @param indices int32 [kept], kv channels ascending.
 * @returns int32 [kept·G], the query channels that belong with them, ascending; owned by the caller.
 */
export function queryChannels(backend: CudaBackend, indices: Info, group: number, headDim: number): Info {
  const kept = indices.shape[0]!;
  const y = backend.output([kept * group], 'int32');
  const kernel = backend.kernel('query-channels', 'query_channels', 'ppiii');
  const addresses = [backend.address(indices), backend.address(y)];
  backend.launch(kernel, [Math.ceil(kept / 128)], [128], [...addresses, kept, group, headDim]);
  return y;
}

declareVariants('top-k-selection', combinations({ PER_THREAD: [0, ...HELD] }));
declareVariants('query-channels');

/** Kernels of the contract. */
export const topKSelectionKernels = {
  SpftTopKSelection: ({ backend, inputs: { scores }, attributes: { kept } }) =>
    backend.beside(choiceLane(backend, scores), () => topK(backend, scores, kept)),
  SpftCombineQueryKeyScores: ({ backend, inputs: { scoreQ, scoreK }, attributes: { group, headDim } }) =>
    backend.beside(choiceLane(backend, scoreQ, scoreK), () =>
      combineQueryKeyScores(backend, scoreQ, scoreK, group, headDim),
    ),
  SpftQueryChannels: ({ backend, inputs: { indices }, attributes: { group, headDim } }) =>
    backend.beside(choiceLane(backend, indices), () => queryChannels(backend, indices, group, headDim)),
} satisfies CudaKernels;
