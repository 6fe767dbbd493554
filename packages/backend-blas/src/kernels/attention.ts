/**
 * @file Causal grouped-query attention over packed sequences.
 *
 * The work is cut into (sequence, key/value head, tile of queries). Rows are gathered from the layout's row order into packed ones, the queries
 * of a tile below each other for all heads of the group, so that a tile's scores are one product with the keys up to its last query. The forward
 * keeps a tile's scores in the cache of the thread that makes them. The backward makes probabilities again, keeps them and their gradients for
 * as many heads as fit into some memory, and then makes dk and dv by blocks of keys, so that no two threads write to the same place.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../backend.js';
import type { BlasKernel, Call } from '../call.js';
import type { Matrix } from '../product.js';
import { inScratch } from '../threads/pool.js';

interface Attributes {
  readonly layout: { readonly tokens: number; readonly sequenceStarts: Int32Array; readonly rowOfToken: Int32Array };
  readonly heads: { readonly heads: number; readonly kvHeads: number; readonly headDim: number };
}

/** Rows of a tile, of all heads of a group together: a product of so many rows runs at full speed, and its scores fit into a cache. */
const TILE_ROWS = 192;

/** Numbers of probabilities and their gradients that the backward keeps at once, unless one head alone has more: 64 MB. */
const KEPT_NUMBERS = 2 ** 24;

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
    { layout, heads }: Attributes,
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

  /** Where a tile's queries begin in [sequence][kv head][tile][head of the group][query][d], in numbers. */
  queriesOf({ first, length, kvHead }: Unit, start: number): number {
    return (first * this.N + (kvHead * length + start) * this.G) * this.d;
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

export const attention: BlasKernel<Attributes> = (call, { q, k, v }, attributes) => {
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

export const attentionGrad: BlasKernel<Attributes> = (call, { q, k, v, dy }, attributes) => {
  const [dq, dk, dv] = [q!, k!, v!].map(({ shape }) => call.output(shape)) as [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo];
  const a = new Attention(call, attributes);
  const { pool } = call;
  const [T, wide] = q!.shape as [number, number];
  const narrow = k!.shape[1]!;
  const [keys, values] = [call.scratch(T * narrow), call.scratch(T * narrow)];
  const [queries, dOut] = [call.scratch(T * wide), call.scratch(T * wide)];
  const [qAt, kAt, vAt, dyAt] = [call.at(q!), call.at(k!), call.at(v!), call.at(dy!)];
  for (const unit of a.units) {
    a.gatherKeys(kAt, unit, keys);
    a.gatherKeys(vAt, unit, values);
    pool.endChunk();
  }
  a.eachTile(a.units, (unit, start, count) => {
    const at = 4 * a.queriesOf(unit, start);
    a.gatherQueries(qAt, unit, start, count, queries + at, a.scale);
    a.gatherQueries(dyAt, unit, start, count, dOut + at, 1);
  });
  pool.reserveScratch(4 * Math.max(a.G, 1) * a.tile * a.d);
  const tensors = { keys, values, queries, dOut, dq: call.at(dq), dk: call.at(dk), dv: call.at(dv) };
  const numbersOf = ({ length }: Unit) => 2 * a.G * length * padded(length);
  for (let from = 0, to: number; from < a.units.length; from = to) {
    let numbers = numbersOf(a.units[from]!);
    for (to = from + 1; to < a.units.length; to++) {
      const more = numbersOf(a.units[to]!);
      if (numbers + more > KEPT_NUMBERS) break;
      numbers += more;
    }
    gradOf(a, a.units.slice(from, to), numbers, tensors);
  }
  return [dq, dk, dv];
};

/** Gradients of some units, whose probabilities and gradients of scores take so many numbers together. */
function gradOf(
  a: Attention,
  units: readonly Unit[],
  numbers: number,
  { keys, values, queries, dOut, dq, dk, dv }: Readonly<Record<'keys' | 'values' | 'queries' | 'dOut' | 'dq' | 'dk' | 'dv', Place>>,
): void {
  const { call, G, d, K } = a;
  const { pool } = call;
  const { heap } = call.backend;
  const block = call.scratchBlock(numbers);
  // [unit] first the probabilities [G·L, L padded], then the gradients of the scores.
  const placeOf = new Map<Unit, Place>();
  let next = block.address;
  for (const unit of units) {
    placeOf.set(unit, next);
    next += 8 * G * unit.length * padded(unit.length);
  }
  const matrix = (place: Place, stride: number): Matrix => [pool.native(place), stride];

  a.eachTile(units, (unit, start, count) => {
    const [seen, stride, rows] = [start + count, padded(unit.length), G * count];
    const p = placeOf.get(unit)! + 4 * start * G * stride;
    const ds = p + 4 * G * unit.length * stride;
    const [at, keysAt] = [4 * a.queriesOf(unit, start), 4 * a.keysOf(unit)];
    pool.gemm([false, true], [rows, seen, d], 1, matrix(queries + at, d), matrix(keys + keysAt, d), 0, matrix(p, stride));
    pool.call('causalSoftmax', p, G, count, start, seen, stride);
    pool.gemm([false, true], [rows, seen, d], 1, matrix(dOut + at, d), matrix(values + keysAt, d), 0, matrix(ds, stride));
    pool.call('causalSoftmaxGrad', p, ds, G, count, start, seen, stride);
    pool.gemm([false, false], [rows, d, seen], 1, matrix(ds, stride), matrix(keys + keysAt, d), 0, [inScratch(0), d]);
    a.scatterQueries(inScratch(0), dq, unit, start, count, a.scale);
  });

  // A block of keys is seen by the tiles from its own on, whose rows lie behind each other.
  a.eachTile(units, (unit, start, count) => {
    const [stride, rows] = [padded(unit.length), G * (unit.length - start)];
    const p = placeOf.get(unit)! + 4 * (start * G * stride + start);
    const ds = p + 4 * G * unit.length * stride;
    const at = 4 * a.queriesOf(unit, start);
    const tokens = [unit.first + start, unit.first + start + count] as const;
    for (const [weights, from, to] of [
      [p, dOut, dv],
      [ds, queries, dk],
    ] as const) {
      pool.gemm([true, false], [count, d, rows], 1, matrix(weights, stride), matrix(from + at, d), 0, [inScratch(0), d]);
      pool.call('scatterHead', ...tokens, to + 4 * unit.kvHead * d, K * d, a.rowOf, d, inScratch(0), 1);
    }
  });
  heap.give(block);
}
