/**
 * @file Gradients dx = Σ dyᵢ·Wᵢ of codes (E4M3) by a kernel of ours on Hopper (cuda/code-gradients.cu), which takes the Wᵢ as they lie, so that nothing is transposed for
 * them, and several as one product, and adds the gradient by way of low-rank branches. Those of few tiles, and of other GPUs, are left to cuBLASLt, which wants
 * the transposed codes.
 */
import { declareVariants } from '../shared/variants.js';
import { CodeTiles, RING_BYTES, TILE } from './code-tiles.js';
import type { Device } from './device.js';
import type { Launcher } from './launch.js';
import type { Modules } from './modules.js';
import type { LowRank } from './product.js';
import type { TensorMaps } from './tensor-map.js';

/** dx [rows, inputs] = alpha · scale of the row · Σ dyᵢ·Wᵢ, by device addresses. */
export interface CodeGradient {
  readonly rows: number;
  readonly inputs: number;
  /** All dyᵢ side by side, [rows, Σkᵢ] codes, `stride` from row to row. */
  readonly dy: { readonly codes: number; readonly stride: number };
  /** Of dy: one float or, with `scaledByRow`, one for each row. */
  readonly scales: number;
  readonly scaledByRow: boolean;
  /** Wᵢ [kᵢ, inputs] codes, `stride` from row to row. */
  readonly matrices: readonly { readonly codes: number; readonly k: number; readonly stride: number }[];
  readonly alpha: number;
  /** bf16: elements from row to row, by default `inputs`. */
  readonly d: number;
  readonly ldd?: number;
  /** Only what is added to nothing, 0, is made here. */
  readonly beta?: 0 | 1;
  /** x·w to be added, by 1. */
  readonly lowRank?: LowRank;
  /** How many multiprocessors it is made for; all by default. */
  readonly multiprocessors?: number;
}

/** Matrices that a product has at most. */
const MOST_MATRICES = 3;
/** With room for a beginning at a multiple of 1024, for barriers, and for two pieces of dx of each of two warpgroups. */
const SHARED_BYTES = 2 * 1024 + RING_BYTES + 4 * TILE.box * TILE.inner;

/**
 * What a product has at least, of those that are made here: rows, numbers to sum for each of these, and a share of the multiprocessors' time in which they are at work. As nothing
 * is transposed for it, some may be without work at the end; with less to sum it is hardly faster than transposing and cuBLASLt's product (docs/RESULTS.md).
 */
const [LEAST_ROWS, LEAST_INNER_OF_ROWS, LEAST_FILLED] = [512, 0.4, 0.8];

export class CodeGradients {
  readonly #tiles: CodeTiles;
  readonly #modules: Modules;
  /** Products made so far. */
  calls = 0;

  constructor(device: Device, launcher: Launcher, modules: Modules) {
    this.#tiles = new CodeTiles(device, launcher, MOST_MATRICES + 4);
    this.#modules = modules;
  }

  /** Whether gradients [rows, inputs] of matrices of so many rows in all are made here, where places and sides allow it. */
  takes(rows: number, inputs: number, inner: number): boolean {
    if (this.#tiles.maps === null || rows < LEAST_ROWS || !this.pays(rows, inner)) return false;
    return this.#tiles.fill(rows, inputs, LEAST_FILLED);
  }

  /** Whether there is so much to sum that it is faster. */
  pays(rows: number, inner: number): boolean {
    return inner >= LEAST_INNER_OF_ROWS * rows;
  }

  /** @returns whether it was made: not where it is not of a kind or size that is made here. @throws CudaError. */
  multiply(of: CodeGradient): boolean {
    const { maps } = this.#tiles;
    const { rows, inputs, dy, matrices, d, ldd = inputs, lowRank } = of;
    const inner = matrices.reduce((sum, { k }) => sum + k, 0);
    if (maps === null || !fits(of) || !this.takes(rows, inputs, inner)) return false;
    const ofMatrices = matrices.map(({ codes, k, stride }, n) => maps.write(n, codes, k, inputs, stride, TILE.box));
    while (ofMatrices.length < MOST_MATRICES) ofMatrices.push(ofMatrices[0]!);
    const ofDy = maps.write(MOST_MATRICES, dy.codes, rows, inner, dy.stride, TILE.box);
    const ofBranch = lowRank ? branchMaps(maps, of, lowRank) : [ofDy, ofDy];
    const ofDx = maps.write(MOST_MATRICES + 3, d, rows, 2 * inputs, 2 * ldd, TILE.box);
    const ks = Array.from({ length: MOST_MATRICES }, (_, n) => matrices[n]?.k ?? 0);
    const kernel = this.#modules.kernel('code-gradients', 'code_gradients', 'tttttttpiiiiiiif', variantOf(of));
    const sizes = [rows, inputs, ...ks, of.scaledByRow ? 1 : 0, lowRank?.rank ?? 0];
    const args = [...ofMatrices, ofDy, ...ofBranch, ofDx, of.scales, ...sizes, of.alpha];
    const product = { m: rows, n: inputs, k: inner, type: 'e4m3', outputType: 'bf16', a: 0, b: 0, d: 0 } as const;
    this.#tiles.launch(kernel, { ...product, multiprocessors: of.multiprocessors }, args, SHARED_BYTES);
    this.calls++;
    return true;
  }
}

/** Whether the kernel can make it, whatever its size. */
function fits({ inputs, dy, matrices, d, ldd = inputs, beta = 0, lowRank }: CodeGradient): boolean {
  if (beta !== 0 || matrices.length > MOST_MATRICES) return false;
  if (lowRank && lowRank.scaling !== 1) return false;
  const ofBranch = lowRank ? [lowRank.x, 2 * lowRank.ldx, lowRank.w, 2 * lowRank.rank] : [];
  const ofMatrices = matrices.flatMap(({ codes, k, stride }) => [codes, k, stride]);
  return [inputs, dy.codes, dy.stride, ...ofMatrices, d, 2 * ldd, ...ofBranch].every((number) => number % 16 === 0);
}

/** What a branch's x and w are copied by. */
function branchMaps(
  maps: TensorMaps,
  { rows, inputs }: CodeGradient,
  { rank, x, ldx, w }: LowRank,
): [x: number, w: number] {
  const first = MOST_MATRICES + 1;
  return [
    maps.write(first, x, rows, 2 * rank, 2 * ldx, TILE.box),
    maps.write(first + 1, w, rank, 2 * inputs, 2 * inputs, TILE.box),
  ];
}

/** Definitions of the kernel's variants: whether there is a branch, and sixteens of each 64 numbers of its rank that are not zeros. */
const VARIANTS = {
  plain: { BRANCH: 0, STEPS: 4 },
  narrow: { BRANCH: 1, STEPS: 2 },
  wide: { BRANCH: 1, STEPS: 4 },
};

const variantOf = ({ lowRank }: CodeGradient) =>
  !lowRank ? VARIANTS.plain : lowRank.rank <= 32 ? VARIANTS.narrow : VARIANTS.wide;

declareVariants('code-gradients', Object.values(VARIANTS), 'sm_90a');
