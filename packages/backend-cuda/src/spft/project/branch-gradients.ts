/**
 * @file dh = s·dy·B and dB = s·dyᵀ·h of the low-rank branches of up to three layers, in one pass over each dy. Where that cannot be done it is two
 * products a layer (branches.ts).
 */
import type { CudaBackend } from '../../backend.js';
import { TensorMaps } from '../../device/tensor-map.js';
import { declareVariants } from '../../shared/variants.js';
import { type BranchPart, fitOneLaunch, RANK_DEFINES, RANKS, rankFor } from './branch-parts.js';

/** A layer's part, by device addresses in bf16. */
export interface GradientPart extends BranchPart {
  /** [T, out]. */
  readonly dy: number;
  /** [out, rank]. */
  readonly b: number;
  /** [out, rank] in float: the result. */
  readonly db: number;
  readonly scaling: number;
}

/** As in the kernels: columns of a block, that of Hopper first, and rows of a tile. */
const [HOPPER_COLUMNS, COLUMNS, ROWS] = [512, 256, 64];

/** Bytes of shared memory: two tiles of dy and of h, and one of B. */
const sharedBytes = (R: number): number => 2 * (2 * ROWS * (COLUMNS + 8) + (2 * ROWS + COLUMNS) * (R + 8));
/** On Hopper, where each of these has boxes of 64 columns; with room for a beginning at a multiple of 1024 and for barriers. */
const HOPPER_BYTES = 1024 + 128 * (2 * ROWS * (HOPPER_COLUMNS / 64 + 1) + HOPPER_COLUMNS) + 64;
const HOPPER_DEFINES = { RANK: '32', HOPPER: '1' } as const;

/** How Hopper's kernel sees dy, B and h of three layers; null where there is none. */
const mapsOf = new WeakMap<CudaBackend, TensorMaps | null>();
function hopperMaps(backend: CudaBackend): TensorMaps | null {
  if (!mapsOf.has(backend)) {
    const { device } = backend;
    mapsOf.set(backend, device.architecture === 'sm_90a' ? TensorMaps.of(device, 9) : null);
  }
  return mapsOf.get(backend)!;
}

/** Whether one pass can make the gradients of these parts, whose columns of h lie side by side. */
export function fitOnePass(backend: CudaBackend, parts: readonly GradientPart[], h: number, dh: number): boolean {
  if (!fitOneLaunch(parts) || ((h & 15) | (dh & 15)) !== 0) return false;
  for (const { dy, b, db } of parts) if (((dy & 15) | (b & 15) | (db & 15)) !== 0) return false;
  return sharedBytes(rankFor(parts)!) <= backend.device.info.sharedBytes;
}

/** Rows of dh times a number each, which are wanted too; by address. */
export interface ScaledRows {
  /** [T], in float. */
  readonly scales: number;
  /** [T, Σrank] in bf16: the result. */
  readonly to: number;
}

/**
 * Writes dh and every `db`.
 * @param h [T, Σrank]. @param dh [T, Σrank], the result. Both by address, in bf16. @param T at least 1.
 */
export function gradientsInOnePass(
  backend: CudaBackend,
  T: number,
  parts: readonly GradientPart[],
  h: number,
  dh: number,
  scaled: ScaledRows | null = null,
) {
  const R = rankFor(parts)!;
  const maps = R === 32 && backend.copiesBranchesInBulk ? hopperMaps(backend) : null;
  const columns = maps ? HOPPER_COLUMNS : COLUMNS;
  let [blocks, all] = [0, 0];
  for (const { out, rank } of parts) {
    blocks += Math.ceil(out / columns);
    all += rank;
  }
  // Every multiprocessor has its share of one wave of blocks.
  const atOnce = (maps || R !== 32 ? 1 : 2) * backend.device.info.multiprocessors;
  const count = ROWS * Math.ceil(T / Math.max(1, Math.round(atOnce / blocks)) / ROWS);
  const stretches = Math.ceil(T / count);
  const bytesOfDh = 4 * blocks * T * R;
  const defines = maps ? HOPPER_DEFINES : RANK_DEFINES[R];
  backend.scratch(bytesOfDh + 4 * stretches * blocks * columns * R, (dhParts) => {
    const dbParts = dhParts + bytesOfDh;
    // In threes, one for each layer: dy, b; h and the parts; T, count, all; out, rank.
    const args = new Array<number>(18).fill(0);
    args[6] = h;
    args[7] = dhParts;
    args[8] = dbParts;
    args[9] = T;
    args[10] = count;
    args[11] = all;
    // The parts, scales of rows, dh, dh scaled; in threes: db; T, stretches, all; out, rank, scaling.
    const sums = new Array<number>(20).fill(0);
    sums[0] = dhParts;
    sums[1] = dbParts;
    sums[2] = scaled?.scales ?? 0;
    sums[3] = dh;
    sums[4] = scaled?.to ?? 0;
    sums[8] = T;
    sums[9] = stretches;
    sums[10] = all;
    for (let n = 0; n < parts.length; n++) {
      const { dy, b, db, out, rank, scaling } = parts[n]!;
      args[n] = dy;
      args[3 + n] = b;
      args[12 + n] = sums[11 + n] = out;
      args[15 + n] = sums[14 + n] = rank;
      sums[5 + n] = db;
      sums[17 + n] = scaling;
    }
    if (maps) {
      const kernel = backend.kernel('branch-gradients', 'branch_gradients', 'tttttttttppiiii', defines);
      const outs = [parts[0]!.out, parts[1]?.out ?? 0];
      const of = [...boxes(maps, T, parts, h, all), dhParts, dbParts, T, count, ...outs];
      backend.launch(kernel, [blocks, stretches], [416], of, HOPPER_BYTES);
    } else {
      const kernel = backend.kernel('branch-gradients', 'branch_gradients', 'pppppppppiiiiiiiii', defines);
      backend.launch(kernel, [blocks, stretches], [256], args, sharedBytes(R));
    }
    const totals = backend.kernel('branch-gradients', 'branch_totals', 'ppppppppiiiiiiiiifff', defines);
    const threads = (T * all) / 4 + (blocks * columns * R) / 4;
    backend.launch(totals, [Math.ceil(threads / 256)], [256], sums);
  });
}

/** Of each layer dy, then B, then its columns of h, beyond which are zeros. Where there is no third or second layer its maps are not read. */
function boxes(maps: TensorMaps, T: number, parts: readonly GradientPart[], h: number, all: number): number[] {
  const addresses = new Array<number>(9);
  let at = h;
  parts.forEach(({ dy, b, out, rank }, n) => {
    addresses[n] = maps.write(n, dy, T, 2 * out, 2 * out, ROWS);
    addresses[3 + n] = maps.write(3 + n, b, out, 2 * rank, 2 * rank, ROWS);
    addresses[6 + n] = maps.write(6 + n, at, T, 2 * rank, 2 * all, ROWS);
    at += 2 * rank;
  });
  for (let n = 0; n < 9; n++) if (n % 3 >= parts.length) addresses[n] = addresses[0]!;
  return addresses;
}

declareVariants('branch-gradients', [HOPPER_DEFINES], 'sm_90a');
declareVariants(
  'branch-gradients',
  RANKS.map((rank) => RANK_DEFINES[rank]),
);
