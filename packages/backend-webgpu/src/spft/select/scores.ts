/** @file Scores of channels by low-rank predictors, and the channels that are chosen by them. Nothing is read back. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, dimensions, forEach, output, sizeOf, withScratch, words } from '../../shared/call.js';
import { multiply, plain } from '../../shared/product.js';
import { columnDots } from './columns.js';

/** ‖(x·a·b)ⱼ‖ over tokens, by the Gram matrix of x·a. */
function gramNorms(backend: Backend, x: tf.TensorInfo, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo {
  const [T, width] = dimensions(x);
  const [r, n] = dimensions(b);
  const scores = output(backend, [n]);
  withScratch(backend, [T * r, r * r], (p, gram) => {
    const ofP = { x: p!, row: r, column: 1 };
    multiply(backend, { m: T, n: r, k: width, a: plain(x), b: plain(a), c: { x: p! } });
    multiply(backend, { m: r, n: r, k: T, a: { ...ofP, row: 1, column: r }, b: ofP, c: { x: gram! } });
    if (n > 0) backend.dispatch('gram-norms', {}, words(r, n), [gram!, b, scores], [Math.ceil(n / 64)]);
  });
  return scores;
}

function ofAll({ backend, inputs, attributes }: Call<'SpftGramScoresOfAll'>): tf.TensorInfo[] {
  return Array.from({ length: attributes.count }, (_, n) =>
    gramNorms(backend, inputs.x, inputs[`a${n}`]!, inputs[`b${n}`]!),
  );
}

/** x · a · b. */
function lowRank(backend: Backend, x: tf.TensorInfo, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo {
  const [B, width] = dimensions(x);
  const [r, n] = dimensions(b);
  const y = output(backend, [B, n]);
  withScratch(backend, [B * r], (p) => {
    multiply(backend, { m: B, n: r, k: width, a: plain(x), b: plain(a), c: { x: p! } });
    multiply(backend, { m: B, n, k: r, a: { x: p!, row: r, column: 1 }, b: plain(b), c: { x: y } });
  });
  return y;
}

function gatedScores({ backend, inputs }: Call<'SpftGatedScores'>): tf.TensorInfo {
  const { x, gateA, gateB, upA, upB } = inputs;
  const [gate, up] = [lowRank(backend, x, gateA, gateB), lowRank(backend, x, upA, upB)];
  const y = output(backend, gate.shape);
  forEach(backend, 'swiglu', [sizeOf(y.shape)], [gate, up, y]);
  const scores = columnDots(backend, y, y, true);
  for (const { dataId } of [gate, up, y]) backend.disposeData(dataId);
  return scores;
}

function topK({ backend, inputs: { scores }, attributes: { kept } }: Call<'SpftTopKSelection'>): tf.TensorInfo {
  const n = sizeOf(scores.shape);
  const indices = output(backend, [kept], 'int32');
  withScratch(backend, [n], (flags) => {
    forEach(backend, 'top-k-flags', [n, kept], [scores, flags!]);
    if (kept > 0) forEach(backend, 'places-of-flags', [n], [flags!, indices]);
  });
  return indices;
}

function combineScores(call: Call<'SpftCombineQueryKeyScores'>): tf.TensorInfo {
  const { scoreQ, scoreK } = call.inputs;
  const { group, headDim } = call.attributes;
  const n = sizeOf(scoreK.shape);
  const score = output(call.backend, [n]);
  const params = words(n, headDim, group);
  if (n > 0) call.backend.dispatch('combine-scores', {}, params, [scoreQ, scoreK, score], [Math.ceil(n / 64)]);
  return score;
}

function queryChannels({ backend, inputs: { indices }, attributes }: Call<'SpftQueryChannels'>): tf.TensorInfo {
  const kept = sizeOf(indices.shape);
  const { group, headDim } = attributes;
  const channels = output(backend, [kept * group], 'int32');
  const params = words(kept, group, headDim);
  if (kept > 0) backend.dispatch('query-channels', {}, params, [indices, channels], [Math.ceil(kept / 64)]);
  return channels;
}

/** dx = (x·a) · (b·diag(dy/scores)·bᵀ) · aᵀ is composed of products by the op itself. */
export const scoresKernels = {
  SpftGramScores: ({ backend, inputs: { x, a, b } }: Call<'SpftGramScores'>) => gramNorms(backend, x, a, b),
  SpftGramScoresOfAll: ofAll,
  SpftGatedScores: gatedScores,
  SpftTopKSelection: topK,
  SpftCombineQueryKeyScores: combineScores,
  SpftQueryChannels: queryChannels,
};
