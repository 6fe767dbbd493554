/** @file From channels of key/value heads to those of the query heads that attend to them: few numbers, by JavaScript. */
import type { BlasKernel } from '../../shared/call.js';

/** The mean q score of each kv channel's group times its k score. */
export const combineQueryKeyScores: BlasKernel<'SpftCombineQueryKeyScores'> = (
  call,
  { scoreQ, scoreK },
  { group, headDim },
) => {
  const score = call.output(scoreK!.shape);
  const [q, k, y] = [call.values(scoreQ!), call.values(scoreK!), call.values(score)];
  for (let c = 0; c < k.length; c++) {
    const i = c % headDim;
    const first = (c - i) * group + i;
    let sum = 0;
    for (let g = 0; g < group; g++) sum += q[first + g * headDim]!;
    y[c] = (sum / group) * k[c]!;
  }
  return score;
};

/** Ascending, as kv channels are: head by head, and in each of a head's group the same ones. */
export const queryChannels: BlasKernel<'SpftQueryChannels'> = (call, { indices }, { group, headDim }) => {
  const kept = indices!.shape[0]!;
  const channels = call.output([kept * group], 'int32');
  const [from, to] = [call.values(indices!), call.values(channels)];
  let next = 0;
  for (let begin = 0, end = 0; begin < kept; begin = end) {
    const head = Math.floor(from[begin]! / headDim);
    while (end < kept && from[end]! < (head + 1) * headDim) end++;
    for (let g = 0; g < group; g++) {
      const shift = (head * (group - 1) + g) * headDim;
      for (let i = begin; i < end; i++) to[next++] = from[i]! + shift;
    }
  }
  return channels;
};
