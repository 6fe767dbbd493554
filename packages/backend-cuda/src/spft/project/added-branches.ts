/**
 * @file Branches that the frozen product adds by itself, while it writes (device/code-products.ts), so that y and dx are moved once and no kernel of their own is
 * launched. What cannot be added so is written before or after the product (branches.ts).
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { LowRank } from '../../device/product.js';
import { formOf } from '../../forms/form.js';
import { halfOf } from '../../shared/tensors.js';
import { BYTES } from '../../storage.js';
import { type BranchGroup, stackedA } from './branches.js';

type Type = 'bf16' | 'f32';

/** Sixteen bytes of bf16: what a branch's parts come in where a product adds it. */
const UNIT = 8;

/** A layer's branch for its product of all rows of h to add; null where that cannot be done. @param type of activations. */
export function addedByProduct(
  backend: CudaBackend,
  weight: TensorInfo,
  h: TensorInfo,
  { of, rank: all }: BranchGroup,
  n: number,
  type: Type,
): LowRank | null {
  const part = of[n];
  if (!part || type !== 'bf16' || part.branch.scaling === 0) return null;
  const { at, rank, branch } = part;
  if ([at, rank, all].some((number) => number % UNIT !== 0)) return null;
  if (!formOf(backend, weight).addsLowRank?.(backend, weight, h.shape[0]!, false)) return null;
  const [x, w] = [backend.address(h) + at * BYTES.bf16, halfOf(backend, branch.b)];
  return (x | w) & 15 ? null : { rank, scaling: branch.scaling, x, ldx: all, w };
}

/** dh·[A…] for the product that makes the rest of dx, which can add such; null where it cannot add this. */
export function gradientAddedByProduct(
  backend: CudaBackend,
  dh: TensorInfo,
  group: BranchGroup,
  type: Type,
): LowRank | null {
  if (type !== 'bf16' || group.rank % UNIT !== 0) return null;
  const [x, w] = [backend.address(dh), stackedA(backend, group)];
  return (x | w) & 15 ? null : { rank: group.rank, scaling: 1, x, ldx: group.rank, w };
}

/** What it adds to the rows from `from` on. */
export const rowsFrom = (lowRank: LowRank, from: number): LowRank => ({
  ...lowRank,
  x: lowRank.x + from * lowRank.ldx * BYTES.bf16,
});

/** A group without the branches of some layers. */
export const without = (group: BranchGroup, some: readonly unknown[]): BranchGroup => ({
  ...group,
  of: group.of.map((part, n) => (some[n] ? null : part)),
});
