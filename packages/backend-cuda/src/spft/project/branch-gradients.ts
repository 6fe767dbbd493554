/**
 * @file dh = s·dy·B and dB = s·dyᵀ·h of the low-rank branches of up to three layers, in one pass over each dy. Where that cannot be done it is two
 * products a layer (branches.ts).
 */
import type { CudaBackend } from '../../backend.js';
import { declareVariants } from '../../shared/variants.js';
import { type BranchPart, fitOneLaunch, ofEach, RANKS, rankFor } from './branch-parts.js';

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
  const numbers = parts.flatMap(({ out, rank }) => [out, rank]);
  const addresses = [h, dh, ...parts.flatMap(({ dy, b, db }) => [dy, b, db])];
  return fitOneLaunch(parts, numbers, addresses) && sharedBytes(rankFor(parts)!) <= backend.device.info.sharedBytes;
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
) {
  const R = rankFor(parts)!;
  const blocks = parts.reduce((sum, { out }) => sum + Math.ceil(out / COLUMNS), 0);
  // Every multiprocessor has its share of one wave of blocks.
  const wanted = Math.max(1, Math.round(((R === 32 ? 2 : 1) * backend.device.info.multiprocessors) / blocks));
  const count = ROWS * Math.ceil(T / wanted / ROWS);
  const stretches = Math.ceil(T / count);
  const all = parts.reduce((sum, { rank }) => sum + rank, 0);
  const shape = [...ofEach(parts, ({ out }) => out), ...ofEach(parts, ({ rank }) => rank)];
  const bytesOfDh = 4 * blocks * T * R;
  backend.scratch(bytesOfDh + 4 * stretches * blocks * COLUMNS * R, (dhParts) => {
    const dbParts = dhParts + bytesOfDh;
    const defines = { RANK: String(R) };
    const kernel = backend.kernel('branch-gradients', 'branch_gradients', 'pppppppppiiiiiiiii', defines);
    const operands = [...ofEach(parts, ({ dy }) => dy), ...ofEach(parts, ({ b }) => b), h, dhParts, dbParts];
    backend.launch(kernel, [blocks, stretches], [256], [...operands, T, count, all, ...shape], sharedBytes(R));
    const totals = backend.kernel('branch-gradients', 'branch_totals', 'ppppppiiiiiiiiifff', defines);
    const sums = [dhParts, dbParts, dh, ...ofEach(parts, ({ db }) => db)];
    const threads = (T * all) / 4 + (blocks * COLUMNS * R) / 4;
    const numbers = [T, stretches, all, ...shape, ...ofEach(parts, ({ scaling }) => scaling)];
    backend.launch(totals, [Math.ceil(threads / 256)], [256], [...sums, ...numbers]);
  });
}

declareVariants(
  'branch-gradients',
  RANKS.map((RANK) => ({ RANK: String(RANK) })),
);
