/** @file Attention of one token a sequence over keys and values where they lie, with its own put in their place (cuda/decode-attention.cu). */
import type { HeadLayout } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Scope } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';

type Info = TensorInfo;

const THREADS = 256;
/** Tokens that have room for which a block of its own pays. */
const ROOM_A_SPLIT = 48;

export interface DecodeAttention {
  /** [B, N·d], [B, K·d], [B, K·d], not turned yet; of one type. */
  readonly q: Info;
  readonly k: Info;
  readonly v: Info;
  /** [B, d/2]. */
  readonly cos: Info;
  readonly sin: Info;
  /** int32 [B]. */
  readonly positions: Info;
  /** [B, C, K·d]: written to. */
  readonly keys: Info;
  readonly values: Info;
}

/** Query heads of a block: as many of a group as have room. */
function headsABlock(group: number, headDim: number): number {
  let heads = Math.min(group, 8);
  while (group % heads !== 0 || (heads > 1 && heads * headDim > 1024)) heads--;
  return heads;
}

const definesFor = (X: string, KV: string, group: number, headDim: number) => {
  const lanes = Math.min(32, 2 ** Math.ceil(Math.log2(Math.ceil(headDim / 8))));
  return { X, KV, HEAD_DIM: headDim, GROUP: group, HEADS: headsABlock(group, headDim), LANES: lanes, THREADS };
};

/** Whether the kernel takes heads of so many numbers. */
export const takesHeads = ({ headDim }: HeadLayout): boolean => headDim <= 256 && headDim % 2 === 0;

/** @returns [B, N·d] in q's type, a result of the scope. */
export function decodeAttention(backend: CudaBackend, of: DecodeAttention, heads: HeadLayout, scope: Scope): Info {
  const { q, keys } = of;
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const [B, C] = keys.shape as [number, number, number];
  const y = scope.output([B, N * d], 'float32', backend.physical(q));
  const defines = definesFor(C_TYPE[backend.physical(q)], C_TYPE[backend.physical(keys)], N / K, d);
  const across = N / defines.HEADS;
  // About two blocks for each multiprocessor, and no more than have keys when all have come.
  const wanted = Math.floor((2 * backend.device.info.multiprocessors) / (across * B));
  const splits = Math.max(1, Math.min(wanted, Math.ceil(C / ROOM_A_SPLIT), 64));
  const floats = splits === 1 ? 0 : B * N * splits * (d + 2);
  const parts = floats === 0 ? 0 : backend.address(scope.temporary(backend.output([floats], 'float32', 'f32')));
  const tables = [of.cos, of.sin].map((table) => scope.address(table, 'f32'));
  const [kv, positions] = [[keys, of.values].map((t) => backend.address(t)), backend.address(of.positions)];
  const kernel = backend.kernel('decode-attention', 'decode_attention', 'pppppppppppiif', defines);
  const inputs = [q, of.k, of.v].map((t) => backend.address(t));
  const arrivals = splits === 1 ? 0 : arrivalsOf(backend, keys, B * across);
  const args = [
    ...inputs,
    ...tables,
    positions,
    ...kv,
    backend.address(y),
    parts,
    arrivals,
    K,
    C,
    Math.LOG2E / Math.sqrt(d),
  ];
  backend.launch(kernel, [splits, across, B], [THREADS], args, 0, true);
  return y;
}

/** Counts of the blocks that are through, zero between launches; kept with the cache. */
const arrivalsOf = (backend: CudaBackend, keys: Info, count: number): number =>
  backend.derived(keys, 'arrivals', 4 * count, (address) =>
    backend.device.call('cuMemsetD8Async', address, 0, 4 * count, backend.device.stream),
  );

for (const [heads, kvHeads, headDim] of [
  [32, 8, 128],
  [9, 3, 64],
] as const) {
  const types = combinations({ X: FLOATS, KV: FLOATS }) as { X: string; KV: string }[];
  declareVariants(
    'decode-attention',
    types.map(({ X, KV }) => definesFor(X, KV, heads / kvHeads, headDim)),
  );
}
