/**
 * @file dh = s·dy·B and dB = s·dyᵀ·h of the low-rank branches of up to three layers, in one pass over each dy. Where that cannot be done it is two
 * products a layer (branches.ts).
 */
import type { CudaBackend } from '../backend.js';
import { declareVariants } from './variants.js';

/** A layer's part, by device addresses in bf16. */
export interface GradientPart {
  /** [T, out]. */
  readonly dy: number;
  /** [out, rank]. */
  readonly b: number;
  /** [out, rank] in float: the result. */
  readonly db: number;
  readonly out: number;
  readonly rank: number;
  readonly scaling: number;
}

/** Most layers that one pass takes. */
const MOST = 3;
/** As in the kernel. */
const COLUMNS = 256;
const ROWS = 64;
const RANKS = [32, 64] as const;

const rankFor = (parts: readonly GradientPart[]) => RANKS.find((most) => parts.every(({ rank }) => rank <= most));

/** Bytes of shared memory: two tiles of dy and of h, and one of B. */
const sharedBytes = (R: number): number => 2 * (2 * ROWS * (COLUMNS + 8) + (2 * ROWS + COLUMNS) * (R + 8));

/** Whether one pass can make the gradients of these parts, whose columns of h lie side by side. */
export function fitOnePass(backend: CudaBackend, parts: readonly GradientPart[], h: number, dh: number): boolean {
  const R = rankFor(parts);
  const addresses = [h, dh, ...parts.flatMap(({ dy, b, db }) => [dy, b, db])];
  return (
    parts.length > 0 &&
    parts.length <= MOST &&
    R !== undefined &&
    sharedBytes(R) <= backend.device.info.sharedBytes &&
    parts.every(({ out, rank }) => out > 0 && out % 8 === 0 && rank > 0 && rank % 8 === 0) &&
    addresses.every((address) => address % 16 === 0)
  );
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
  const three = (f: (part: GradientPart) => number) =>
    Array.from({ length: MOST }, (_, n) => (parts[n] ? f(parts[n]) : 0));
  const shape = [...three(({ out }) => out), ...three(({ rank }) => rank)];
  const bytesOfDh = 4 * blocks * T * R;
  backend.scratch(bytesOfDh + 4 * stretches * blocks * COLUMNS * R, (dhParts) => {
    const dbParts = dhParts + bytesOfDh;
    const defines = { RANK: String(R) };
    const kernel = backend.kernel('branch-gradients', 'branch_gradients', 'pppppppppiiiiiiiii', defines);
    const operands = [...three(({ dy }) => dy), ...three(({ b }) => b), h, dhParts, dbParts];
    backend.launch(kernel, [blocks, stretches], [256], [...operands, T, count, all, ...shape], sharedBytes(R));
    const totals = backend.kernel('branch-gradients', 'branch_totals', 'ppppppiiiiiiiiifff', defines);
    const sums = [dhParts, dbParts, dh, ...three(({ db }) => db)];
    const threads = (T * all) / 4 + (blocks * COLUMNS * R) / 4;
    const numbers = [T, stretches, all, ...shape, ...three(({ scaling }) => scaling)];
    backend.launch(totals, [Math.ceil(threads / 256)], [256], [...sums, ...numbers]);
  });
}

declareVariants(
  'branch-gradients',
  RANKS.map((RANK) => ({ RANK: String(RANK) })),
);
