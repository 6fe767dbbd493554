/** @file Kept rows or columns of a frozen weight, gathered first, which takes a hundredth of the product. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { Call } from '../../shared/call.js';
import { copyRows } from '../tokens/gather-rows.js';

/** Kept rows of weights [out, in] in scratch, those of one below those of another: [weights · kept, in]. */
export function keptRows(call: Call, indices: tf.TensorInfo, ...weights: readonly tf.TensorInfo[]): Place {
  const size = indices.shape[0]! * weights[0]!.shape[1]!;
  const place = call.scratch(weights.length * size);
  weights.forEach((weight, n) => {
    gatherRowsTo(call, weight, indices, place + 4 * n * size);
  });
  return place;
}

function gatherRowsTo(call: Call, weight: tf.TensorInfo, indices: tf.TensorInfo, place: Place): void {
  const n = weight.shape[1]!;
  const kept = indices.shape[0]!;
  const from = call.backend.placeLasting(weight);
  if (from !== null) call.share('gatherRows', kept, n, from, n, call.at(indices), place);
  else copyRows(call.values(weight), call.values(indices), n, call.backend.heap.f32(place, kept * n));
}

/** Kept columns of a weight [out, in], as [out, kept] in scratch. */
export function keptColumns(call: Call, weight: tf.TensorInfo, indices: tf.TensorInfo): Place {
  const place = call.scratch(weight.shape[0]! * indices.shape[0]!);
  gatherColumnsTo(call, weight, indices, place);
  return place;
}

/** The same at `place`. */
export function gatherColumnsTo(call: Call, weight: tf.TensorInfo, indices: tf.TensorInfo, place: Place): void {
  const [rows, n] = weight.shape as [number, number];
  const kept = indices.shape[0]!;
  call.share('gatherColumns', rows, kept, call.at(weight), n, call.at(indices), kept, place);
}

export function keptOf(call: Call, bias: tf.TensorInfo, indices: tf.TensorInfo): Place {
  const [from, kept] = [call.values(bias), call.values(indices)];
  const place = call.scratch(kept.length);
  const to = call.backend.heap.f32(place, kept.length);
  for (let i = 0; i < kept.length; i++) to[i] = from[kept[i]!]!;
  return place;
}
