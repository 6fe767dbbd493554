/**
 * @file The branches of adapters, of all layers of one input together: h = x·[A…]ᵀ and s·h·Bᵀ forward, dh = s·dy·B and dh·[A…] backward, while the rows are in
 * a thread's cache. Layers begin with these, and their frozen products are added, so that no sum is a pass of its own.
 */
import type * as tf from '@tensorflow/tfjs';
import type { KernelBranch, KernelLayer } from '../../contract/layers.js';
import { rowParts } from './kernels.js';
import type { Address, SimdCall } from './module.js';
import { type Stretch, stretches } from './products.js';

const FLOAT = 4;

/** A layer's branch among those of all. */
interface BranchPlace extends KernelBranch {
  readonly layer: number;
  readonly out: number;
  /** Its rank, and where its columns of h begin. */
  readonly r: number;
  readonly at: number;
}

export interface Branches {
  readonly all: readonly BranchPlace[];
  /** Of each layer, or null. */
  readonly of: readonly (BranchPlace | null)[];
  /** Σr. */
  readonly width: number;
  readonly inputs: number;
  /** All A's below each other: [Σr, in], until the call ends. */
  readonly a: Address;
}

/** Null where no layer has one. */
export function branchesOf(call: SimdCall, layers: readonly Pick<KernelLayer, 'lora'>[]): Branches | null {
  const all: BranchPlace[] = [];
  let width = 0;
  const of = layers.map(({ lora }, layer) => {
    if (!lora) return null;
    const [out, r] = lora.b.shape as [number, number];
    const place = { ...lora, layer, out, r, at: width };
    all.push(place);
    width += r;
    return place;
  });
  if (all.length === 0) return null;
  const inputs = all[0]!.a.shape[1]!;
  for (const { a } of all) call.at(a);
  const together = call.scratch(width * inputs);
  // Views are valid until something allocates, so they are taken after that.
  for (const { a, at } of all) {
    const values = call.values(a);
    new Float32Array(values.buffer, together + FLOAT * at * inputs, values.length).set(values);
  }
  return { all, of, width, inputs, a: together };
}

/** Blocks of rows for the branches, of which none has both dense and sparse ones. */
export const blocksOfRows = (call: SimdCall, T: number, denseRows: number): Stretch[] =>
  [
    [0, denseRows],
    [denseRows, T],
  ].flatMap(([first, end]) =>
    rowParts(call, end! - first!).map(([from, to]): [number, number] => [first! + from, first! + to]),
  );

/** What forward products of branches multiply by: [A…] and each B, transposed. */
export interface ForwardBranches extends Branches {
  /** [in, Σr]. */
  readonly aTransposed: Address;
  /** Of each layer, [r, out]; 0 without a branch. */
  readonly bTransposed: readonly Address[];
}

export function transposedBranches(call: SimdCall, branches: Branches): ForwardBranches {
  const { all, of, width, inputs, a } = branches;
  const aTransposed = call.scratch(inputs * width);
  const bTransposed = of.map((branch) => (branch ? call.scratch(branch.r * branch.out) : 0));
  call.module.transpose(a, aTransposed, width, inputs, 1);
  for (const { layer, b, out, r } of all) call.module.transpose(call.at(b), bTransposed[layer]!, out, r, 1);
  return { ...branches, aTransposed, bTransposed };
}

/** Adds h = x·[A…]ᵀ for some rows. */
export function callH(
  { pool }: SimdCall,
  { aTransposed, width, inputs }: ForwardBranches,
  x: Address,
  h: Address,
  [from, to]: Stretch,
): void {
  const [wide, thin] = [inputs * FLOAT, width * FLOAT];
  const result = [h + from * thin, thin, 0, to - from, inputs, width, 1];
  pool.call('product', x + from * wide, wide, FLOAT, aTransposed, thin, ...result);
}

/** Adds y = added + s·h·Bᵀ of a layer for some rows. @param added rows as those of y, or 0. */
export function callBranch(
  { pool }: SimdCall,
  { of, bTransposed, width }: ForwardBranches,
  layer: number,
  h: Address,
  y: Address,
  added: Address,
  [from, to]: Stretch,
): void {
  const { out, r, at, scaling } = of[layer]!;
  const [thin, high] = [width * FLOAT, out * FLOAT];
  const left = h + from * thin + at * FLOAT;
  const result = [y + from * high, high, added && added + from * high, to - from, r, out, scaling];
  pool.call('product', left, thin, FLOAT, bTransposed[layer]!, high, ...result);
}

/** Adds dh = s·dz·B of each branch, and dx = dh·[A…] where it is wanted, for some rows. @param dzs of each layer. */
export function callBranchGradient(
  call: SimdCall,
  { all, width, inputs, a }: Branches,
  dzs: readonly Address[],
  dh: Address,
  dx: Address | null,
  [from, to]: Stretch,
): void {
  const { pool } = call;
  const [wide, thin] = [inputs * FLOAT, width * FLOAT];
  for (const { layer, b, out, r, at, scaling } of all) {
    const high = out * FLOAT;
    const result = [dh + from * thin + at * FLOAT, thin, 0, to - from, out, r, scaling];
    pool.call('product', dzs[layer]! + from * high, high, FLOAT, call.at(b), r * FLOAT, ...result);
  }
  if (dx === null) return;
  pool.call('product', dh + from * thin, thin, FLOAT, a, wide, dx + from * wide, wide, 0, to - from, width, inputs, 1);
}

/** Adds dA and dB of each branch to the job, which need all rows of dh. @param outputs dA and dB of each. */
export function addBranchParameters(
  call: SimdCall,
  { all, width, inputs }: Branches,
  outputs: readonly (readonly [dA: tf.TensorInfo, dB: tf.TensorInfo])[],
  [x, h, dh]: readonly [Address, Address, Address],
  dzs: readonly Address[],
  T: number,
): void {
  const { pool } = call;
  const [wide, thin] = [inputs * FLOAT, width * FLOAT];
  all.forEach(({ layer, out, r, at, scaling }, n) => {
    const [dA, dB] = outputs[n]!.map((info) => call.at(info)) as [Address, Address];
    const [ofH, ofDh] = [h + at * FLOAT, dh + at * FLOAT];
    for (const [from, to] of stretches(inputs, pool.threads, 8)) {
      pool.call('deepProduct', ofDh, thin, x + from * FLOAT, wide, dA + from * FLOAT, wide, T, r, to - from, 1);
      pool.endChunk();
    }
    for (const [from, to] of stretches(out, pool.threads, 4)) {
      const left = dzs[layer]! + from * FLOAT;
      pool.call(
        'deepProduct',
        left,
        out * FLOAT,
        ofH,
        thin,
        dB + from * r * FLOAT,
        r * FLOAT,
        T,
        to - from,
        r,
        scaling,
      );
      pool.endChunk();
    }
  });
}
