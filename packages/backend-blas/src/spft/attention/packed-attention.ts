/**
 * @file Causal grouped-query attention over packed sequences.
 *
 * The work is cut into (sequence, key/value head, tile of queries). Rows are gathered from the layout's row order into packed ones, the queries
 * of a tile below each other for all heads of the group, keys and values in blocks, and each product of a tile is made block by block of the keys up
 * to its last query: so small that OpenBLAS has it computed without packing operands first, which for products as thin as a head takes a third of the time,
 * and by operands as they lie best for that (a·b and aᵀ·b; a·bᵀ is half as fast), for which a block is kept transposed. The scores are in base 2 and
 * stay without their division by a row's sum; what is as narrow as a head gets it.
 *
 * The forward keeps a tile's scores in the cache of the thread that makes them. The backward makes them again, and each thread sums dk and dv of its
 * tiles on its own: to keep the probabilities of a head and make dk and dv by blocks of keys afterwards took twice as long, for memory.
 */
import type { AttentionAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';
import { UNPACKED } from '../../shared/product.js';
import { inScratch } from '../../threads/pool.js';

/** Rows of a tile, of all heads of a group together. More would waste more on keys that a query does not see, fewer make more calls. */
const TILE_ROWS = 96;

/** Keys of a block. */
const BLOCK = 128;

/** Numbers of dk and dv that a thread sums at once, unless one head alone has more: 16 MB. */
const SUMMED_NUMBERS = 2 ** 22;

/** A key/value head of a sequence. */
interface Unit {
  /** Packed index of the sequence's first token. */
  readonly first: number;
  readonly length: number;
  readonly kvHead: number;
}

/** Queries of a unit. */
interface Tile {
  readonly unit: Unit;
  /** Position in the sequence of the first query, and how many there are. */
  readonly start: number;
  readonly count: number;
  /** Of all heads of the group. */
  readonly rows: number;
  /** Keys that any of the queries sees, and their blocks. */
  readonly seen: number;
  readonly blocks: readonly Block[];
  /** Numbers from one row of scores to the next. */
  readonly stride: number;
}

/** Keys of a unit: the first, how many are seen, and of how many the block is. */
interface Block {
  readonly at: number;
  readonly keys: number;
  readonly of: number;
}

/** What both directions know of the call. */
class Attention {
  readonly N: number;
  readonly K: number;
  readonly d: number;
  readonly G: number;
  readonly tile: number;
  /** Keys of a block. */
  readonly block: number;
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
    this.tile = Math.min(96, Math.max(16, Math.ceil(TILE_ROWS / this.G / 16) * 16));
    this.block = Math.max(16, Math.min(BLOCK, Math.floor(UNPACKED / (this.G * this.tile * d) / 16) * 16));
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
  eachTile(units: readonly Unit[], visit: (tile: Tile) => void): void {
    for (let start = Math.floor((this.longest - 1) / this.tile) * this.tile; start >= 0; start -= this.tile) {
      for (const unit of units) {
        if (start >= unit.length) continue;
        const count = Math.min(this.tile, unit.length - start);
        const seen = start + count;
        const blocks = this.blocks(unit, seen);
        visit({ unit, start, count, rows: this.G * count, seen, blocks, stride: strideOf(seen) });
        this.call.pool.endChunk();
      }
    }
    this.call.pool.run();
  }

  /** Where a unit's keys or values begin in [sequence][kv head][token][d], in numbers. */
  keysOf({ first, length, kvHead }: Unit): number {
    return (first * this.K + kvHead * length) * this.d;
  }

  /** Adds a gather of a tile's queries, heads of the group below each other. @param scales one for each row beside `scale`; 0 for none. */
  gatherQueries(x: Place, tile: Tile, to: Place, scale: number, scales: Place | 0 = 0): void {
    this.#queries('gatherHeads', x, tile, to, scale, scales);
  }

  scatterQueries(from: Place, x: Place, tile: Tile, scale: number, scales: Place | 0 = 0): void {
    this.#queries('scatterHeads', x, tile, from, scale, scales);
  }

  #queries(
    name: 'gatherHeads' | 'scatterHeads',
    x: Place,
    { unit: { first, kvHead }, start, count }: Tile,
    packed: Place,
    scale: number,
    scales: Place | 0,
  ): void {
    const { G, N, d, call } = this;
    const token = first + start;
    const head = x + 4 * kvHead * G * d;
    call.pool.call(name, token, token + count, G, head, N * d, this.rowOf, d, packed, scale, scales);
  }

  /** Adds a gather of the keys or values of a unit, and their blocks transposed, [d, keys of the block] each, to where the block's rows would be. */
  gatherKeys(x: Place, unit: Unit, to: Place, transposed: Place | null): void {
    const { d, K, call } = this;
    const { first, length, kvHead } = unit;
    const packed = 4 * this.keysOf(unit);
    call.pool.call(
      'gatherHeads',
      first,
      first + length,
      1,
      x + 4 * kvHead * d,
      K * d,
      this.rowOf,
      d,
      to + packed,
      1,
      0,
    );
    if (transposed === null) return;
    for (const { at, keys } of this.blocks(unit, length)) {
      const block = packed + 4 * at * d;
      call.pool.call('transpose', 0, d, to + block, keys, d, transposed + block);
    }
  }

  /** The blocks of the first `seen` keys of a unit. */
  blocks({ length }: Unit, seen: number): readonly Block[] {
    const { block } = this;
    return Array.from({ length: Math.ceil(seen / block) }, (_, n) => {
      const at = n * block;
      return { at, keys: Math.min(block, seen - at), of: Math.min(block, length - at) };
    });
  }

  /** Adds c [rows, seen] = a·bᵀ: a [rows, d], b the keys or values of the unit, given as transposed blocks. */
  timesTransposed(a: Place, b: Place, c: Place, { unit, rows, blocks, stride }: Tile): void {
    const { call, d } = this;
    const first = call.pool.native(b + 4 * this.keysOf(unit));
    for (const { at, keys, of } of blocks) {
      const block = [first + 4 * at * d, of] as const;
      call.pool.gemm([false, false], [rows, keys, d], 1, [a, d], block, 0, [c + 4 * at, stride]);
    }
  }

  /** Adds c [rows, d] = a·b: a [rows, seen] of scores, b the keys or values of the unit. */
  times(a: Place, b: Place, c: Place, { unit, rows, blocks, stride }: Tile): void {
    const { call, d } = this;
    const first = call.pool.native(b + 4 * this.keysOf(unit));
    for (const { at, keys } of blocks) {
      const block = [first + 4 * at * d, d] as const;
      call.pool.gemm([false, false], [rows, d, keys], 1, [a + 4 * at, stride], block, at > 0 ? 1 : 0, [c, d]);
    }
  }

  /** Adds c [seen, d] += aᵀ·b: a [rows, seen] of scores, b [rows, d]. */
  addTransposedTimes(a: Place, b: Place, c: Place, { rows, blocks, stride }: Tile): void {
    const { call, d } = this;
    for (const { at, keys } of blocks) {
      call.pool.gemm([true, false], [keys, d, rows], 1, [a + 4 * at, stride], [b, d], 1, [c + 4 * at * d, d]);
    }
  }
}

/** Numbers from one row of scores to the next: an odd number of cache lines, so that rows below each other share out the cache. */
const strideOf = (keys: number): number => 16 * (Math.ceil(keys / 16) | 1);

export const attention: BlasKernel<'SpftPackedAttention'> = (call, { q, k, v }, attributes) => {
  const y = call.output(q!.shape);
  const a = new Attention(call, attributes);
  const { pool } = call;
  const { G, d } = a;
  const [T, narrow] = k!.shape as [number, number];
  const [keys, values, transposed] = [0, 1, 2].map(() => call.scratch(T * narrow)) as [Place, Place, Place];
  const [qAt, kAt, vAt, yAt] = [call.at(q!), call.at(k!), call.at(v!), call.at(y)];
  for (const unit of a.units) {
    a.gatherKeys(kAt, unit, keys, transposed);
    a.gatherKeys(vAt, unit, values, null);
    pool.endChunk();
  }
  pool.run();
  const rowBytes = 4 * G * a.tile * d;
  const inverseBytes = 64 * Math.ceil((G * a.tile) / 16);
  pool.reserveScratch(2 * rowBytes + inverseBytes + 4 * G * a.tile * strideOf(a.longest));
  const [queries, out, inverses] = [inScratch(0), inScratch(rowBytes), inScratch(2 * rowBytes)];
  const scores = inScratch(2 * rowBytes + inverseBytes);
  a.eachTile(a.units, (tile) => {
    const { start, count, seen, stride } = tile;
    a.gatherQueries(qAt, tile, queries, a.scale * Math.LOG2E);
    a.timesTransposed(queries, transposed, scores, tile);
    pool.call('causalExp2', scores, inverses, G, count, start, seen, stride);
    a.times(scores, values, out, tile);
    a.scatterQueries(out, yAt, tile, 1, inverses);
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
  const [keys, values, keysT, valuesT] = [0, 1, 2, 3].map(() => call.scratch(T * narrow)) as [
    Place,
    Place,
    Place,
    Place,
  ];
  const [qAt, kAt, vAt, dyAt] = [call.at(q!), call.at(k!), call.at(v!), call.at(dy!)];
  for (const unit of a.units) {
    a.gatherKeys(kAt, unit, keys, keysT);
    a.gatherKeys(vAt, unit, values, valuesT);
    pool.endChunk();
  }
  pool.run();
  const gradients = { dq: call.at(dq), dk: call.at(dk), dv: call.at(dv) };
  const tensors = { keys, keysT, valuesT, q: qAt, dy: dyAt, ...gradients };
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
  {
    keys,
    keysT,
    valuesT,
    q,
    dy,
    dq,
    dk,
    dv,
  }: Readonly<Record<'keys' | 'keysT' | 'valuesT' | 'q' | 'dy' | 'dq' | 'dk' | 'dv', Place>>,
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
  const [rowBytes, scoreBytes] = [4 * G * a.tile * d, 4 * G * a.tile * strideOf(a.longest)];
  const inverseBytes = 64 * Math.ceil((G * a.tile) / 16);
  pool.reserveScratch(sums + 3 * rowBytes + 2 * scoreBytes + inverseBytes);
  for (let thread = 0; thread < pool.threads; thread++) pool.kernels.zero(pool.scratchOf(thread), sums);
  const [queries, dOut, dQueries, e, ds, inverses] = [
    ...[0, 1, 2].map((n) => inScratch(sums + n * rowBytes)),
    ...[0, 1, 2].map((n) => inScratch(sums + 3 * rowBytes + n * scoreBytes)),
  ] as [Place, Place, Place, Place, Place, Place];

  a.eachTile(units, (tile) => {
    const { unit, start, count, seen, stride } = tile;
    const [dkSum, dvSum] = [inScratch(sumsOf.get(unit)!), inScratch(sumsOf.get(unit)! + 4 * unit.length * d)];
    a.gatherQueries(q, tile, queries, a.scale * Math.LOG2E);
    a.timesTransposed(queries, keysT, e, tile);
    pool.call('causalExp2', e, inverses, G, count, start, seen, stride);
    a.gatherQueries(dy, tile, dOut, 1, inverses);
    a.addTransposedTimes(e, dOut, dvSum, tile);
    a.timesTransposed(dOut, valuesT, ds, tile);
    pool.call('causalExp2Grad', e, ds, inverses, G, count, start, seen, stride);
    a.addTransposedTimes(ds, queries, dkSum, tile);
    a.times(ds, keys, dQueries, tile);
    a.scatterQueries(dQueries, dq, tile, a.scale);
  });

  for (const unit of units) {
    const [at, numbers] = [sumsOf.get(unit)!, 2 * unit.length * d];
    const first = pool.scratchOf(0) + at;
    for (let thread = 1; thread < pool.threads; thread++) {
      pool.call('accumulate', pool.scratchOf(thread) + at, first, numbers, 1);
    }
    const tokens = [unit.first, unit.first + unit.length] as const;
    // The queries that made dk are log₂ e times too large.
    for (const [gradient, sum, scale] of [
      [dk, first, Math.LN2],
      [dv, first + 4 * unit.length * d, 1],
    ] as const) {
      pool.call('scatterHeads', ...tokens, 1, gradient + 4 * unit.kvHead * d, K * d, a.rowOf, d, sum, scale, 0);
    }
    pool.endChunk();
  }
  pool.run();
}
