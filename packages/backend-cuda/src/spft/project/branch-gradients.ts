/**
 * @file dh = s·dy·B and dB = s·dyᵀ·h of the low-rank branches of up to three layers, in one pass over each dy. Where that cannot be done it is two
 * products a layer (branches.ts).
 */
import type { CudaBackend } from '../../backend.js';
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

/** As in the kernel. */
const COLUMNS = 256;
const ROWS = 64;

/** Bytes of shared memory: two tiles of dy and of h, and one of B. */
const sharedBytes = (R: number): number => 2 * (2 * ROWS * (COLUMNS + 8) + (2 * ROWS + COLUMNS) * (R + 8));

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
  let [blocks, all] = [0, 0];
  for (const { out, rank } of parts) {
    blocks += Math.ceil(out / COLUMNS);
    all += rank;
  }
  // Every multiprocessor has its share of one wave of blocks.
  const wanted = Math.max(1, Math.round(((R === 32 ? 2 : 1) * backend.device.info.multiprocessors) / blocks));
  const count = ROWS * Math.ceil(T / wanted / ROWS);
  const stretches = Math.ceil(T / count);
  const bytesOfDh = 4 * blocks * T * R;
  backend.scratch(bytesOfDh + 4 * stretches * blocks * COLUMNS * R, (dhParts) => {
    const dbParts = dhParts + bytesOfDh;
    const kernel = backend.kernel('branch-gradients', 'branch_gradients', 'pppppppppiiiiiiiii', RANK_DEFINES[R]);
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
    backend.launch(kernel, [blocks, stretches], [256], args, sharedBytes(R));
    const totals = backend.kernel('branch-gradients', 'branch_totals', 'ppppppppiiiiiiiiifff', RANK_DEFINES[R]);
    const threads = (T * all) / 4 + (blocks * COLUMNS * R) / 4;
    backend.launch(totals, [Math.ceil(threads / 256)], [256], sums);
  });
}

declareVariants(
  'branch-gradients',
  RANKS.map((rank) => RANK_DEFINES[rank]),
);
