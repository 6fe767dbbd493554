/**
 * @file Causal grouped-query attention over packed sequences.
 *
 * The work is cut into (sequence, key/value head, tile of queries). Rows are gathered from the layout's row order into packed ones, the queries
 * of a tile below each other for all heads of the group, so that a tile's scores are one product with the keys up to its last query. The forward
 * keeps a tile's scores in the cache of the thread that makes them. The backward makes probabilities again, and each thread sums dk and dv of its
 * tiles on its own: to keep the probabilities of a head and make dk and dv by blocks of keys afterwards took twice as long, for memory.
 */
import type { AttentionAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import type { Matrix } from '../../shared/product.js';
import { inScratch } from '../../threads/pool.js';

/** Rows of a tile, of all heads of a group together: a product of so many rows runs at full speed, and its scores fit into a cache. */
const TILE_ROWS = 192;

/** Numbers of dk and dv that a thread sums at once, unless one head alone has more: 16 MB. */
const SUMMED_NUMBERS = 2 ** 22;

/** A key/value head of a sequence. */
interface Unit {
  /** Packed index of the sequence's first token. */
  readonly first: number;
  readonly length: number;
  readonly kvHead: number;
}

/** What both directions know of the call. */
class Attention {
  readonly N: number;
  readonly K: number;
  readonly d: number;
  readonly G: number;
  readonly tile: number;
  readonly scale: number;
  readonly units: readonly Unit[];
  readonly longest: number;
  readonly rowOf: Place;

  constructor(
    readonly call: Call,
    { layout, heads }: AttentionAttributes,
  ) {
    const { heads: N, kvHeads: K, headDim: d } = heads;
    [this.N, this.K, this.d, this.G] = [N, K, d, N / K];
    this.scale = 1 / Math.sqrt(d);
    this.tile = Math.min(128, Math.max(32, Math.ceil(TILE_ROWS / this.G / 16) * 16));
    const units: Unit[] = [];
    let longest = 0;
    for (let b = 0; b + 1 < layout.sequenceStarts.length; b++) {
      const first = layout.sequenceStarts[b]!;
      const length = layout.sequenceStarts[b + 1]! - first;
      longest = Math.max(longest, length);
      if (length === 0) continue;
      for (let kvHead = 0; kvHead < K; kvHead++) units.push({ first, length, kvHead });
    }
    this.units = units;
    this.longest = longest;
    this.rowOf = call.copy(layout.rowOfToken);
  }

  /** Calls `visit` for the tiles of some units; the dearest, which see most keys, first, so that threads end together. */
  eachTile(units: readonly Unit[], visit: (unit: Unit, start: number, count: number) => void): void {
    for (let start = Math.floor((this.longest - 1) / this.tile) * this.tile; start >= 0; start -= this.tile) {
      for (const unit of units) {
        if (start >= unit.length) continue;
        visit(unit, start, Math.min(this.tile, unit.length - start));
        this.call.pool.endChunk();
      }
    }
    this.call.pool.run();
  }

  /** Where a unit's keys or values begin in [sequence][kv head][token][d], in numbers. */
  keysOf({ first, length, kvHead }: Unit): number {
    return (first * this.K + kvHead * length) * this.d;
  }

  /** Adds gathers of a tile's queries, heads of the group below each other. */
  gatherQueries(x: Place, { first, kvHead }: Unit, start: number, count: number, to: Place, scale: number): void {
    this.#queries('gatherHead', x, first + start, kvHead, count, to, scale);
  }

  scatterQueries(from: Place, x: Place, { first, kvHead }: Unit, start: number, count: number, scale: number): void {
    this.#queries('scatterHead', x, first + start, kvHead, count, from, scale);
  }

  #queries(
    name: 'gatherHead' | 'scatterHead',
    x: Place,
    token: number,
    kvHead: number,
    count: number,
    packed: Place,
    scale: number,
  ): void {
    const { G, N, d, call } = this;
    for (let g = 0; g < G; g++) {
      const head = x + 4 * (kvHead * G + g) * d;
      call.pool.call(name, token, token + count, head, N * d, this.rowOf, d, packed + 4 * g * count * d, scale);
    }
  }

  /** Adds gathers of the keys or values of a unit. */
  gatherKeys(x: Place, unit: Unit, to: Place): void {
    const { d, K, call } = this;
    const { first, length, kvHead } = unit;
    const packed = to + 4 * this.keysOf(unit);
    call.pool.call('gatherHead', first, first + length, x + 4 * kvHead * d, K * d, this.rowOf, d, packed, 1);
  }
}

const padded = (n: number): number => Math.ceil(n / 16) * 16;

export const attention: BlasKernel<'SpftPackedAttention'> = (call, { q, k, v }, attributes) => {
  const y = call.output(q!.shape);
  const a = new Attention(call, attributes);
  const { pool } = call;
  const { G, d } = a;
  const [keys, values] = [call.scratch(k!.shape[0]! * k!.shape[1]!), call.scratch(v!.shape[0]! * v!.shape[1]!)];
  const [qAt, kAt, vAt, yAt] = [call.at(q!), call.at(k!), call.at(v!), call.at(y)];
  for (const unit of a.units) {
    a.gatherKeys(kAt, unit, keys);
    a.gatherKeys(vAt, unit, values);
    pool.endChunk();
  }
  pool.run();
  const rowBytes = 4 * G * a.tile * d;
  pool.reserveScratch(2 * rowBytes + 4 * G * a.tile * padded(a.longest));
  const [queries, out, scores] = [inScratch(0), inScratch(rowBytes), inScratch(2 * rowBytes)];
  a.eachTile(a.units, (unit, start, count) => {
    const seen = start + count;
    const stride = padded(seen);
    const rows = G * count;
    const [kTile, vTile]: Matrix[] = [keys, values].map((place) => [pool.native(place + 4 * a.keysOf(unit)), d]);
    a.gatherQueries(qAt, unit, start, count, queries, a.scale);
    pool.gemm([false, true], [rows, seen, d], 1, [queries, d], kTile!, 0, [scores, stride]);
    pool.call('causalSoftmax', scores, G, count, start, seen, stride);
    pool.gemm([false, false], [rows, d, seen], 1, [scores, stride], vTile!, 0, [out, d]);
    a.scatterQueries(out, yAt, unit, start, count, 1);
  });
  return y;
};

export const attentionGrad: BlasKernel<'SpftPackedAttentionGrad'> = (call, { q, k, v, dy }, attributes) => {
  const [dq, dk, dv] = [q!, k!, v!].map(({ shape }) => call.output(shape)) as [
    tf.TensorInfo,
    tf.TensorInfo,
    tf.TensorInfo,
  ];
  const a = new Attention(call, attributes);
  const { pool } = call;
  const [T, narrow] = k!.shape as [number, number];
  const [keys, values] = [call.scratch(T * narrow), call.scratch(T * narrow)];
  const [qAt, kAt, vAt, dyAt] = [call.at(q!), call.at(k!), call.at(v!), call.at(dy!)];
  for (const unit of a.units) {
    a.gatherKeys(kAt, unit, keys);
    a.gatherKeys(vAt, unit, values);
    pool.endChunk();
  }
  pool.run();
  const tensors = { keys, values, q: qAt, dy: dyAt, dq: call.at(dq), dk: call.at(dk), dv: call.at(dv) };
  for (let from = 0, to: number; from < a.units.length; from = to) {
    let tokens = 0;
    for (to = from; to < a.units.length; to++) {
      tokens += a.units[to]!.length;
      if (to > from && 2 * tokens * a.d > SUMMED_NUMBERS) break;
    }
    gradOf(a, a.units.slice(from, to), tensors);
  }
  return [dq, dk, dv];
};

/** Gradients of some units. Each thread sums what its tiles give to dk and dv; in the end the sums of the threads are added. */
function gradOf(
  a: Attention,
  units: readonly Unit[],
  { keys, values, q, dy, dq, dk, dv }: Readonly<Record<'keys' | 'values' | 'q' | 'dy' | 'dq' | 'dk' | 'dv', Place>>,
): void {
  const { call, G, d, K } = a;
  const { pool } = call;
  // In each thread's scratch: the sums, first dk then dv of each unit; then what a tile needs.
  const sumsOf = new Map<Unit, number>();
  let sums = 0;
  for (const unit of units) {
    sumsOf.set(unit, sums);
    sums += 8 * unit.length * d;
  }
  const [rowBytes, scoreBytes] = [4 * G * a.tile * d, 4 * G * a.tile * padded(a.longest)];
  pool.reserveScratch(sums + 3 * rowBytes + 2 * scoreBytes);
  for (let thread = 0; thread < pool.threads; thread++) pool.kernels.zero(pool.scratchOf(thread), sums);
  const [queries, dOut, dQueries, p, ds] = [
    ...[0, 1, 2].map((n) => inScratch(sums + n * rowBytes)),
    ...[0, 1].map((n) => inScratch(sums + 3 * rowBytes + n * scoreBytes)),
  ] as [Place, Place, Place, Place, Place];

  a.eachTile(units, (unit, start, count) => {
    const [seen, rows] = [start + count, G * count];
    const stride = padded(seen);
    const keysAt = 4 * a.keysOf(unit);
    const [kUnit, vUnit]: Matrix[] = [keys, values].map((place) => [pool.native(place + keysAt), d]);
    const [dkSum, dvSum] = [inScratch(sumsOf.get(unit)!), inScratch(sumsOf.get(unit)! + 4 * unit.length * d)];
    a.gatherQueries(q, unit, start, count, queries, a.scale);
    a.gatherQueries(dy, unit, start, count, dOut, 1);
    pool.gemm([false, true], [rows, seen, d], 1, [queries, d], kUnit!, 0, [p, stride]);
    pool.call('causalSoftmax', p, G, count, start, seen, stride);
    pool.gemm([true, false], [seen, d, rows], 1, [p, stride], [dOut, d], 1, [dvSum, d]);
    pool.gemm([false, true], [rows, seen, d], 1, [dOut, d], vUnit!, 0, [ds, stride]);
    pool.call('causalSoftmaxGrad', p, ds, G, count, start, seen, stride);
    pool.gemm([true, false], [seen, d, rows], 1, [ds, stride], [queries, d], 1, [dkSum, d]);
    pool.gemm([false, false], [rows, d, seen], 1, [ds, stride], kUnit!, 0, [dQueries, d]);
    a.scatterQueries(dQueries, dq, unit, start, count, a.scale);
  });

  for (const unit of units) {
    const [at, numbers] = [sumsOf.get(unit)!, 2 * unit.length * d];
    const first = pool.scratchOf(0) + at;
    for (let thread = 1; thread < pool.threads; thread++) {
      pool.call('accumulate', pool.scratchOf(thread) + at, first, numbers, 1);
    }
    const tokens = [unit.first, unit.first + unit.length] as const;
    for (const [gradient, sum] of [
      [dk, first],
      [dv, first + 4 * unit.length * d],
    ] as const) {
      pool.call('scatterHead', ...tokens, gradient + 4 * unit.kvHead * d, K * d, a.rowOf, d, sum, 1);
    }
    pool.endChunk();
  }
  pool.run();
}
