/**
 * @file Products of codes (E4M3) with a low-rank branch by a kernel of ours on Hopper (cuda/multiply-codes.cu), which adds the branch, and turns queries and keys, while it
 * writes. All others, of few tiles, and of other GPUs, are left to cuBLASLt, whose kernels are as fast: a GPU at work on codes draws all the power that it may
 * (docs/RESULTS.md). Gradients are code-gradients.ts's.
 */
import { declareVariants } from '../shared/variants.js';
import { CodeTiles, RING_BYTES, TILE } from './code-tiles.js';
import type { Device } from './device.js';
import type { Launcher } from './launch.js';
import type { Modules } from './modules.js';
import type { Product, Turn } from './product.js';

/** With room for a beginning at a multiple of 1024, and for barriers. */
const SHARED_BYTES = 1024 + RING_BYTES + 16 * TILE.stages;

/**
 * What a product has at least, of those that are made here: rows, and a share of the multiprocessors' time in which its tiles keep them at work. Of others cuBLASLt's smaller
 * tiles are faster.
 */
const [LEAST_ROWS, LEAST_FILLED] = [512, 0.9];

export class CodeProducts {
  readonly #tiles: CodeTiles;
  readonly #modules: Modules;
  /** Products made so far. */
  calls = 0;

  constructor(device: Device, launcher: Launcher, modules: Modules) {
    this.#tiles = new CodeTiles(device, launcher, 4);
    this.#modules = modules;
  }

  /** Whether a product of such codes with a branch is made here. */
  takes(m: number, n: number, k: number): boolean {
    return this.#tiles.maps !== null && m >= LEAST_ROWS && this.#tiles.fill(m, n, LEAST_FILLED) && k >= TILE.inner;
  }

  /** @returns whether it was made: not where it is not one of codes, or not of a kind or size that is made here. @throws CudaError. */
  multiply(product: Product): boolean {
    const { maps } = this.#tiles;
    const { m, n, k, a, b, d, c = d, alpha = 1, beta = 0, scaleA, scaledByRow = false, lowRank, turn } = product;
    if (maps === null || !lowRank || !fits(product) || !this.takes(m, n, k)) return false;
    const { lda = k, ldb = k, ldd = n, ldc = ldd } = product;
    const first = [maps.write(0, a, m, k, lda, TILE.box), maps.write(1, b, n, k, ldb, TILE.box)];
    const ofBranch = [maps.write(2, lowRank.x, m, 2 * lowRank.rank, 2 * lowRank.ldx, TILE.box)];
    ofBranch.push(maps.write(3, lowRank.w, n, 2 * lowRank.rank, 2 * lowRank.rank, TILE.box));
    const kernel = this.#modules.kernel(
      'multiply-codes',
      'multiply_codes',
      'ttttpppiiiiiiiffpp',
      variantOf(lowRank.rank, beta, turn),
    );
    const sizes = [m, n, k, ldc, ldd, scaledByRow ? 1 : 0, lowRank.rank];
    const args = [
      ...[...first, ...ofBranch, scaleA!, beta === 0 ? 0 : c, d, ...sizes],
      ...[alpha, lowRank.scaling, turn?.cos ?? 0, turn?.sin ?? 0],
    ];
    this.#tiles.launch(kernel, product, args, SHARED_BYTES);
    this.calls++;
    return true;
  }
}

const isMultiple = (of: number) => (number: number) => number % of === 0;

/** Whether the kernel can make it, whatever its size. */
function fits(product: Product): boolean {
  const { n, k, type, outputType, batch = 1, transposeA, transposeB, beta = 0, a, b, c, d, scaleA } = product;
  const { turn } = product;
  if (turn && (beta !== 0 || n % 128 !== 0 || [turn.cos, turn.sin].some((at) => at % 8 !== 0))) return false;
  if (type !== 'e4m3' || outputType !== 'bf16' || !transposeB || transposeA || scaleA === undefined) return false;
  const { lda = k, ldb = k, ldd = n, ldc = ldd } = product;
  if (batch !== 1 || (beta !== 0 && beta !== 1)) return false;
  return [n, k, lda, ldb, a, b, d, 2 * ldd].every(isMultiple(16)) && [c ?? d, 2 * ldc].every(isMultiple(4));
}

/** Definitions of the kernel's variants: whether there is c, sixteens of each 64 numbers of the branch's rank that are not zeros, whether it is turned. */
const variant = (ADDS: number, STEPS: number, TURNS: number) => ({ ADDS, STEPS, TURNS }) as const;
const VARIANTS = {
  plain: { narrow: variant(0, 2, 0), wide: variant(0, 4, 0) },
  added: { narrow: variant(1, 2, 0), wide: variant(1, 4, 0) },
  turned: { narrow: variant(0, 2, 1), wide: variant(0, 4, 1) },
};

function variantOf(rank: number, beta: number, turn: Turn | undefined) {
  const { narrow, wide } = VARIANTS[turn ? 'turned' : beta === 0 ? 'plain' : 'added'];
  return rank <= 32 ? narrow : wide;
}

declareVariants(
  'multiply-codes',
  Object.values(VARIANTS).flatMap(({ narrow, wide }) => [narrow, wide]),
  'sm_90a',
);
