/**
 * @file Products of codes (E4M3) by a kernel of ours on Hopper (cuda/multiply-codes.cu): those with a low-rank branch to add, which it does while it writes, and such of a long
 * inner dimension. All others, of few tiles, and of other GPUs, are left to cuBLASLt, whose kernel with tiles half as large is as fast: a GPU at work on codes draws all
 * the power that it may (docs/RESULTS.md).
 */
import { declareVariants } from '../shared/variants.js';
import type { Device } from './device.js';
import type { Launcher } from './launch.js';
import type { Modules } from './modules.js';
import { describe, type LowRank, type Product } from './product.js';
import { TensorMaps } from './tensor-map.js';

/** Of the kernel: numbers of d that a cluster of two blocks makes at one time, rows and columns of which a and b are copied at once, stages of the ring. */
const CLUSTER = { rows: 256, columns: 256 } as const;
const [BOX, INNER, STAGES] = [64, 128, 4];
const SHARED_BYTES = 1024 + STAGES * ((CLUSTER.rows / 2 + CLUSTER.columns) * INNER + 16);

export class CodeProducts {
  readonly #device: Device;
  readonly #launcher: Launcher;
  readonly #modules: Modules;
  readonly #maps: TensorMaps | null;
  /** Products made so far. */
  calls = 0;

  constructor(device: Device, launcher: Launcher, modules: Modules) {
    this.#device = device;
    this.#launcher = launcher;
    this.#modules = modules;
    this.#maps = device.architecture === 'sm_90a' ? TensorMaps.of(device, 4) : null;
  }

  /** Whether a product of such codes is made here, where it has a branch to add or has none. */
  takes(m: number, n: number, k: number, branch: boolean): boolean {
    return this.#maps !== null && this.pays(k, branch) && fills(m, n, this.#device.info.multiprocessors) && k >= INNER;
  }

  /** Whether it is faster: where it saves a branch's own kernel, or where so much is summed that writing hardly counts. */
  pays(k: number, branch: boolean): boolean {
    return branch || k >= LONG;
  }

  /** @returns whether it was made: not where it is not one of codes, or not of a kind or size that is made here. @throws CudaError. */
  multiply(product: Product): boolean {
    const maps = this.#maps;
    if (maps === null || !fits(product)) return false;
    const { m, n, k, a, b, d, c = d, alpha = 1, beta = 0, scaleA, scaledByRow = false, lowRank, turn } = product;
    if (!this.takes(m, n, k, lowRank !== undefined)) return false;
    const { lda = k, ldb = k, ldd = n, ldc = ldd } = product;
    const first = [maps.write(0, a, m, k, lda, BOX), maps.write(1, b, n, k, ldb, BOX)];
    const ofBranch = lowRank ? branchMaps(maps, product, lowRank) : first;
    const kernel = this.#modules.kernel('multiply-codes', 'multiply_codes', 'ttttpppiiiiiiiffpp', variantOf(product));
    const atMost = Math.floor((product.multiprocessors ?? this.#device.info.multiprocessors) / 2);
    const places = [scaleA!, beta === 0 ? 0 : c, d];
    const sizes = [m, n, k, ldc, ldd, scaledByRow ? 1 : 0, lowRank?.rank ?? 0];
    const args = [
      ...first,
      ...ofBranch,
      ...places,
      ...sizes,
      alpha,
      lowRank?.scaling ?? 1,
      turn?.cos ?? 0,
      turn?.sin ?? 0,
    ];
    const name = this.#device.profiler ? `product ${describe(product)}` : kernel.name;
    const blocks = 2 * Math.min(clustersOf(m, n), atMost);
    this.#launcher.launch(kernel, [blocks], [384], args, SHARED_BYTES, false, name);
    this.calls++;
    return true;
  }
}

const clustersOf = (m: number, n: number) => Math.ceil(m / CLUSTER.rows) * Math.ceil(n / CLUSTER.columns);

/** Numbers of the inner dimension from which on a product without a branch is made here. */
const LONG = 2 ** 14;
const [LEAST_ROWS, LEAST_FILLED] = [512, 0.9];

/** Whether there are many rows, and tiles that keep nearly all multiprocessors at work until the end: of others cuBLASLt's smaller tiles are faster. */
function fills(m: number, n: number, multiprocessors: number): boolean {
  const [clusters, atOnce] = [clustersOf(m, n), Math.floor(multiprocessors / 2)];
  return m >= LEAST_ROWS && clusters >= LEAST_FILLED * atOnce * Math.ceil(clusters / atOnce);
}

const isMultiple = (of: number) => (number: number) => number % of === 0;

/** Whether the kernel can make it, whatever its size. */
function fits(product: Product): boolean {
  const { n, k, type, outputType, batch = 1, transposeA, transposeB, beta = 0, a, b, c, d, scaleA } = product;
  const { lowRank, turn } = product;
  if (
    turn &&
    (!lowRank || lowRank.wLies || beta !== 0 || n % 128 !== 0 || [turn.cos, turn.sin].some((at) => at % 8 !== 0))
  )
    return false;
  if (type !== 'e4m3' || outputType !== 'bf16' || !transposeB || transposeA || scaleA === undefined) return false;
  const { lda = k, ldb = k, ldd = n, ldc = ldd } = product;
  if (batch !== 1 || (beta !== 0 && beta !== 1)) return false;
  return [n, k, lda, ldb, a, b, d, 2 * ldd].every(isMultiple(16)) && [c ?? d, 2 * ldc].every(isMultiple(4));
}

/** What a branch's x and w are copied by. */
function branchMaps(maps: TensorMaps, { m, n }: Product, { rank, x, ldx, w, wLies }: LowRank): [number, number] {
  const ofW = wLies ? ([rank, 2 * n, 2 * n] as const) : ([n, 2 * rank, 2 * rank] as const);
  return [maps.write(2, x, m, 2 * rank, 2 * ldx, BOX), maps.write(3, w, ...ofW, BOX)];
}

/**
 * Definitions of the kernel's variants: whether there is c; whether there is a branch, and how its w lies; sixteens of each 64 numbers of its rank that are not zeros;
 * whether it is turned.
 */
const variant = (ADDS: number, BRANCH: number, STEPS: number, TURNS = 0) => ({ ADDS, BRANCH, STEPS, TURNS }) as const;
const VARIANTS = [0, 1].map((adds) => ({
  plain: variant(adds, 0, 4),
  branch: [1, 2].map((lies) => ({ narrow: variant(adds, lies, 2), wide: variant(adds, lies, 4) })),
}));
const TURNED = { narrow: variant(0, 1, 2, 1), wide: variant(0, 1, 4, 1) };

function variantOf({ beta = 0, lowRank, turn }: Product) {
  const { plain, branch } = VARIANTS[beta === 0 ? 0 : 1]!;
  if (!lowRank) return plain;
  const { narrow, wide } = turn ? TURNED : branch[lowRank.wLies ? 1 : 0]!;
  return lowRank.rank <= 32 ? narrow : wide;
}

declareVariants(
  'multiply-codes',
  [
    ...VARIANTS.flatMap(({ plain, branch }) => [plain, ...branch.flatMap(({ narrow, wide }) => [narrow, wide])]),
    ...Object.values(TURNED),
  ],
  'sm_90a',
);
