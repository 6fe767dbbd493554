/**
 * @file Causal grouped-query attention over a packed batch (`packedAttention` of sparse-ops): plans the launches of cuda/packed-attention*.cu.
 *
 * Beside its output the forward gives the log-sum-exp of every query, from which the backward makes the probabilities again.
 */
import type { HeadLayout, PackedLayout } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Defines, Kernel } from '../../device/modules.js';
import { inScope } from '../../shared/tensors.js';
import { declareVariants } from '../../shared/variants.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { activationType } from '../project/layers.js';
import { ropeOfBoth } from './rope.js';

/** A launch: rows of the tile that a block has, its threads, and its dynamic shared memory. */
interface Tile {
  readonly rows: number;
  readonly threads: number;
  readonly shared: number;
  /** Blocks go on to other tiles, so no more are wanted than there are multiprocessors. */
  readonly stays?: boolean;
}

interface Plan {
  readonly defines: Defines;
  readonly forward: Tile;
  readonly gradQ: Tile;
  readonly gradKv: Tile;
  /** The gradient of queries from dS as that of keys and values wrote it (Hopper). */
  readonly gradQStored?: Tile;
}

/** Tiles of the tensor-core kernels with mma.sync, found on an H200 (cuda/check): the defaults of the sources. */
const FORWARD = { WARPS: 4, ROW_TILES: 2, BLOCK_N: 64, MIN_BLOCKS: 2 };
const BACKWARD = { Q_WARPS: 8, Q_BLOCK_N: 64, Q_MIN_BLOCKS: 1, KV_WARPS: 8, KV_BLOCK_M: 64, KV_MIN_BLOCKS: 1 };
/** Of those with Hopper's warpgroup products: stages of the rings of the forward and of the gradient of queries. */
const STAGES = 6;
/** Keys and packed rows of a tile of dS, and stages of rows of the kernel that makes it. */
const DS = { keys: 128, rows: 64, stages: 3 };
/** Packed rows of a tile of the kernel that reads it, and its stages of half as many keys. */
const STORED = { rows: 256, stages: 4 };

const plans = new Map<string, Plan>();
/** What was asked for by last, which every layer of a model asks for. */
let last = { d: 0, heads: 0, kvHeads: 0, type: '', onTensorCores: false, onHopper: false, plan: null as Plan | null };

/** `makePlan`, made once. */
function planFor(of: HeadLayout, type: 'bf16' | 'f32', onTensorCores: boolean, onHopper: boolean): Plan {
  const { heads, kvHeads, headDim: d } = of;
  const isLast = last.d === d && last.heads === heads && last.kvHeads === kvHeads && last.type === type;
  if (last.plan && isLast && last.onTensorCores === onTensorCores && last.onHopper === onHopper) return last.plan;
  const key = [heads, kvHeads, d, type, onTensorCores, onHopper].join();
  const plan = plans.get(key) ?? makePlan(of, type, onTensorCores, onHopper);
  plans.set(key, plan);
  last = { d, heads, kvHeads, type, onTensorCores, onHopper, plan };
  return plan;
}

/** As the head of cuda/packed-attention.cu and packed-attention-grad.cu says. */
function makePlan(
  { heads, kvHeads, headDim: d }: HeadLayout,
  type: 'bf16' | 'f32',
  onTensorCores: boolean,
  onHopper: boolean,
): Plan {
  const common = { HEAD_DIM: d, GROUP: heads / kvHeads, BF16: type === 'bf16' ? 1 : 0 };
  if (!onTensorCores) {
    const rows = d <= 128 ? 32 : 16;
    const pitch = 16 * Math.ceil(d / 16) + 4;
    const tile = (floats: number) => ({ rows, threads: 4 * rows, shared: 4 * floats });
    const square = rows * (rows + 1);
    return {
      defines: { ...common, TENSOR_CORES: 0 },
      forward: tile(3 * rows * pitch + square),
      gradQ: tile(4 * rows * pitch + square),
      gradKv: tile(4 * rows * pitch + 2 * square + 2 * rows),
    };
  }
  const M = 16 * FORWARD.WARPS * FORWARD.ROW_TILES;
  if (onHopper) {
    const staying = (bytes: number) => ({ threads: 384, shared: bytes, stays: true });
    const ring = (rows: number) => 2 * d * (rows + 64 * STAGES) + 16 * STAGES + 32;
    const { keys, rows, stages } = DS;
    const [tile, ds] = [2 * d * rows, 2 * keys * rows];
    const ofKv = 2 * (2 * d * keys) + (2 * stages + 1) * tile + 2 * ds + 8 * rows * stages + 8 * (2 * stages + 5);
    const stored = STORED.stages * (tile + (STORED.rows / rows) * (ds / 2) + 16) + 2 * tile;
    return {
      defines: { ...common, TENSOR_CORES: 1, WGMMA: 1, STAGES },
      forward: { rows: 128, ...staying(ring(2 * 128)) },
      gradQ: { rows: 128, ...staying(ring(4 * 128)) },
      gradKv: { rows: keys, threads: 384, shared: ofKv },
      gradQStored: { rows: STORED.rows, ...staying(stored) },
    };
  }
  const [qm, qn] = [16 * BACKWARD.Q_WARPS, BACKWARD.Q_BLOCK_N];
  const [kn, km] = [16 * BACKWARD.KV_WARPS, BACKWARD.KV_BLOCK_M];
  return {
    defines: { ...common, TENSOR_CORES: 1, WGMMA: 0, ...FORWARD, ...BACKWARD },
    forward: {
      rows: M,
      threads: 32 * FORWARD.WARPS,
      shared: 2 * d * (M + 4 * FORWARD.BLOCK_N) + 4 * (M + 2 * FORWARD.BLOCK_N),
    },
    gradQ: { rows: qm, threads: 32 * BACKWARD.Q_WARPS, shared: 2 * d * (2 * qm + 4 * qn) + 4 * (2 * qm + 2 * qn) },
    gradKv: { rows: kn, threads: 32 * BACKWARD.KV_WARPS, shared: 2 * d * (2 * kn + 4 * km) + 4 * (kn + 6 * km) },
  };
}

/** Whether the tensor-core kernels take these: heads of 64 or 128 in bf16, rows at multiples of 16 bytes. */
function fitsTensorCores(
  backend: CudaBackend,
  type: 'bf16' | 'f32',
  headDim: number,
  tensors: readonly TensorInfo[],
): boolean {
  if (type !== 'bf16' || (headDim !== 64 && headDim !== 128)) return false;
  for (const t of tensors) if ((backend.address(t) & 15) !== 0) return false;
  return true;
}

const isHopper = (backend: CudaBackend) => backend.device.architecture === 'sm_90a';

/** Tokens of the longest sequence, or as many as it may have. */
function longestOf({ longest: bound, sequenceStarts: starts }: PackedLayout): number {
  if (bound !== undefined) return bound;
  let longest = 0;
  for (let b = 0; b + 1 < starts.length; b++) longest = Math.max(longest, starts[b + 1]! - starts[b]!);
  return longest;
}

/** Launches a kernel over the tiles of all (sequence, kv head) pairs. @param rows of the longest pair. */
function launchTiles(
  backend: CudaBackend,
  kernel: Kernel,
  rows: number,
  pairs: number,
  tile: Tile,
  args: readonly number[],
) {
  const tiles = Math.ceil(rows / tile.rows) * pairs;
  const blocks = tile.stays ? Math.min(tiles, backend.device.info.multiprocessors) : tiles;
  backend.launch(kernel, [blocks], [tile.threads], args, tile.shared);
}

/** Outputs y [T, N·d] and the log-sum-exp [K, T, G] of q, k and v, turned already; owned by the caller. */
export function attend(
  backend: CudaBackend,
  inputs: { readonly q: TensorInfo; readonly k: TensorInfo; readonly v: TensorInfo },
  { layout, heads }: Attributes,
): [y: TensorInfo, lse: TensorInfo] {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const T = layout.tokens;
  const G = N / K;
  const type = activationType(backend, inputs.q, inputs.k);
  return inScope(backend, (scope) => {
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((t) => scope.temporary(backend.as(t, type))) as Three;
    const y = scope.output([T, N * d], 'float32', type);
    const lse = scope.output([K, T, G], 'float32', 'f32');
    if (T === 0) return [y, lse];
    const plan = planFor(heads, type, fitsTensorCores(backend, type, d, [q, k, v, y]), isHopper(backend));
    const B = layout.sequenceStarts.length - 1;
    const [starts, rows] = [backend.constant(layout.sequenceStarts), backend.constant(layout.rowOfToken)];
    const kernel = backend.kernel('packed-attention', 'packed_attention', 'pppppppiiiiiiifi', plan.defines);
    const addresses = [q, k, v, y, lse].map((t) => backend.address(t));
    const strides = [N * d, K * d, K * d, N * d];
    const longest = longestOf(layout);
    const args = [...addresses, starts, rows, B, T, K, ...strides, 1 / Math.sqrt(d), longest];
    launchTiles(backend, kernel, longest * G, B * K, plan.forward, args);
    return [y, lse];
  });
}

interface Attributes {
  readonly layout: PackedLayout;
  readonly heads: HeadLayout;
}

type Three = [TensorInfo, TensorInfo, TensorInfo];

/** What the gradient wants: what the forward took and gave, and dy. */
export interface Attended {
  readonly q: TensorInfo;
  readonly k: TensorInfo;
  readonly v: TensorInfo;
  readonly y: TensorInfo;
  readonly lse: TensorInfo;
  readonly dy: TensorInfo;
}

/** Tables [T, d/2] of float that q and k were turned by. */
export interface Turn {
  readonly cos: TensorInfo;
  readonly sin: TensorInfo;
}

/** dq, dk and dv, owned by the caller. @param turn where the gradients of q and k before they were turned are wanted. */
export function attendGrad(
  backend: CudaBackend,
  attended: Attended,
  { layout, heads }: Attributes,
  turn: Turn | null = null,
): Three {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const T = layout.tokens;
  const G = N / K;
  const type = activationType(backend, attended.q, attended.k);
  return inScope(backend, (scope) => {
    const tensors = [attended.q, attended.k, attended.v, attended.y, attended.dy].map((t) =>
      scope.temporary(backend.as(t, type)),
    );
    const [q, k, v, y, dy] = tensors.map((t) => backend.address(t)) as [number, number, number, number, number];
    const lse = backend.address(attended.lse);
    const made = [N, K, K].map((count) => scope.output([T, count * d], 'float32', type)) as Three;
    if (T === 0) return made;
    const [dq, dk, dv] = made.map((t) => backend.address(t)) as [number, number, number];
    const tables = turn ? [turn.cos, turn.sin].map((table) => scope.address(table, 'f32')) : [0, 0];
    const onTensorCores =
      fitsTensorCores(backend, type, d, [...tensors, ...made]) && tables.every((table) => (table & 15) === 0);
    const plan = planFor(heads, type, onTensorCores, isHopper(backend));
    const B = layout.sequenceStarts.length - 1;
    const places = [backend.constant(layout.sequenceStarts), backend.constant(layout.rowOfToken), B, T, K];
    const longest = longestOf(layout);
    const scale = 1 / Math.sqrt(d);
    const [wide, narrow] = [N * d, K * d];
    const file = 'packed-attention-grad';
    const strides = [wide, narrow, narrow, wide, wide];
    // Tensor-core kernels turn back what they write.
    const [p, turns] = onTensorCores ? ['pp', tables] : ['', []];
    const gradQ = (delta: number) => {
      const kernel = backend.kernel(file, 'packed_attention_grad_q', `ppppppppppiiiiiiiiifi${p}`, plan.defines);
      const args = [q, k, v, y, dy, lse, dq, delta, ...places, ...strides, wide, scale, longest, ...turns];
      launchTiles(backend, kernel, longest * G, B * K, plan.gradQ, args);
    };
    if (plan.gradQStored) {
      const keyTiles = Math.ceil(longest / DS.keys);
      const tiles = K * (Math.floor((T * G) / DS.rows) + B + 1) * keyTiles;
      const stores = 2 * tiles * DS.keys * DS.rows <= backend.storesDsUpTo;
      const ds = stores ? scope.temporary(backend.output([tiles, DS.keys, DS.rows], 'float32', 'bf16')) : null;
      const kernel = backend.kernel(file, 'packed_attention_grad_kv', 'pppppppppppiiiiiiiiiifipp', plan.defines);
      const args = [q, k, v, y, dy, lse, ds ? backend.address(ds) : 0, dk, dv, ...places, ...strides, narrow, narrow];
      launchTiles(backend, kernel, longest, B * K, plan.gradKv, [...args, scale, keyTiles, ...turns]);
      if (!ds) {
        gradQ(0);
        return made;
      }
      const ofQ = backend.kernel(file, 'packed_attention_grad_q_stored', 'pppppiiiiifiipp', plan.defines);
      const argsQ = [backend.address(ds), k, dq, ...places, narrow, wide, scale, longest, keyTiles, ...turns];
      launchTiles(backend, ofQ, longest * G, B * K, plan.gradQStored, argsQ);
      return made;
    }
    const delta = backend.address(scope.temporary(backend.output([K, T, G], 'float32', 'f32')));
    gradQ(delta);
    const kernel = backend.kernel(file, 'packed_attention_grad_kv', `ppppppppppiiiiiiiiif${p}`, plan.defines);
    const ends = [wide, narrow, narrow, wide, narrow, narrow, scale, ...turns];
    launchTiles(backend, kernel, longest, B * K, plan.gradKv, [q, k, v, dy, lse, delta, dk, dv, ...places, ...ends]);
    if (!turn || onTensorCores) return made;
    const back = ropeOfBoth(backend, [made[0], made[1]], turn.cos, turn.sin, d, true);
    for (const before of made.slice(0, 2)) backend.release(before);
    return [...back, made[2]];
  });
}

const packedAttentionGrad: CudaKernel<'SpftPackedAttentionGrad'> = ({ backend, inputs, attributes }) => {
  const { q, k, v, dy } = inputs;
  return attendGrad(backend, { q, k, v, dy, y: inputs.y!, lse: inputs.kept0! }, attributes);
};

// Shapes of Llama 3's and of SmolLM's heads stand for all: the kernels that sizes choose between.
for (const file of ['packed-attention', 'packed-attention-grad']) {
  for (const heads of [
    { heads: 32, kvHeads: 8, headDim: 128 },
    { heads: 9, kvHeads: 3, headDim: 64 },
  ]) {
    const { defines: hopper } = planFor(heads, 'bf16', true, true);
    declareVariants(file, [planFor(heads, 'f32', false, false).defines, planFor(heads, 'bf16', true, false).defines]);
    declareVariants(file, [hopper], 'sm_90a');
  }
}

/** Kernels of the contract. */
export const packedAttentionKernels = {
  SpftPackedAttention: ({ backend, inputs, attributes }) => attend(backend, inputs, attributes),
  SpftPackedAttentionGrad: packedAttentionGrad,
} satisfies CudaKernels;
