/** @file SwiGLU with the branches of gate and up on top of their frozen products, of which sparse rows have the kept channels alone; and its gradient. */
import type { CudaBackend } from '../../backend.js';
import { declareVariants } from '../../shared/variants.js';
import { RANKS } from '../project/branch-parts.js';

/** The channels that rows from `dense` on have of frozen products. */
export interface KeptChannels {
  readonly dense: number;
  /** Address of int32 [kept]. */
  readonly indices: number;
  readonly kept: number;
}

/** What SwiGLU is taken of, by addresses in bf16. */
export interface GateAndUp {
  readonly rows: number;
  readonly columns: number;
  /** Of the frozen products, of dense rows [dense, columns] each; with a selection, of sparse rows the kept channels of both [rows − dense, kept + kept]. */
  readonly gate: number;
  readonly up: number;
  readonly keptZ: number;
  /** [rows, rank of gate + rank of up]. */
  readonly h: number;
  readonly ofGate: BranchOutput;
  readonly ofUp: BranchOutput;
  /** Null where all rows have all channels. */
  readonly keep: KeptChannels | null;
}

export interface BranchOutput {
  /** [columns, rank]. */
  readonly b: number;
  readonly rank: number;
  readonly scaling: number;
}

const [ROWS, COLUMNS, THREADS] = [64, 128, 256];

const variantFor = (...ranks: readonly number[]) => RANKS.find((most) => ranks.every((rank) => rank <= most))!;

/** Blocks have either dense or sparse rows. */
const gridOf = ({ rows, columns, keep }: GateAndUp) => {
  const dense = keep?.dense ?? rows;
  return [Math.ceil(columns / COLUMNS), Math.ceil(dense / ROWS) + Math.ceil((rows - dense) / ROWS)] as const;
};

/** Bytes of shared memory: a row for each rank of A, and so many tiles of kept channels. */
const sharedBytes = (ranks: number, tiles: number): number => 2 * (ranks * (COLUMNS + 8) + tiles * ROWS * COLUMNS);

/** Whether these kernels can take branches of these ranks. */
export const activationFits = (backend: CudaBackend, ranks: readonly number[]): boolean =>
  ranks.every((rank) => rank > 0 && rank % 8 === 0 && rank <= RANKS.at(-1)!) &&
  sharedBytes(variantFor(...ranks), 3) + 4 * COLUMNS <= backend.device.info.sharedBytes;

/** What the forward gives beside y with a selection, by addresses in bf16. */
export interface KeptForward {
  /** The kept channels of y of sparse rows side by side [rows − dense, kept]. */
  readonly y: number;
  /** Of down's weight [outputs, columns] the kept columns as rows [kept, outputs]; outputs is a multiple of 8. */
  readonly weight: number;
  readonly outputs: number;
  readonly keptWeight: number;
}

/** y [rows, columns] = silu(gate) ⊙ up. */
export function branchActivation(backend: CudaBackend, of: GateAndUp, y: number, ofKept: KeptForward | null): void {
  const { rows, columns, gate, up, keptZ, h, ofGate, ofUp, keep } = of;
  const R = variantFor(ofGate.rank, ofUp.rank);
  const parameters = `${'p'.repeat(11)}${'i'.repeat(8)}ff`;
  const kernel = backend.kernel('branch-activation', 'branch_activation', parameters, { RANK: String(R) });
  const inputs = [gate, up, keptZ, h, ofGate.b, ofUp.b, keep?.indices ?? 0, ofKept?.weight ?? 0];
  const addresses = [...inputs, y, ofKept?.y ?? 0, ofKept?.keptWeight ?? 0];
  const sizes = [rows, keep?.dense ?? rows, columns, keep?.kept ?? 0, ofKept?.outputs ?? 0];
  const ranks = [ofGate.rank + ofUp.rank, ofGate.rank, ofUp.rank];
  const numbers = [...sizes, ...ranks, ofGate.scaling, ofUp.scaling];
  backend.launch(kernel, gridOf(of), [THREADS], [...addresses, ...numbers], sharedBytes(0, keep ? 2 : 0));
}

/** The gradient of y, and where its own go, by addresses in bf16. */
export interface ActivationGradient {
  /** Of down's frozen product: of dense rows [dense, columns]; with a selection, of sparse rows the kept channels [rows − dense, kept]. */
  readonly dy: number;
  readonly keptDy: number;
  /** Of its branch: dh [rows, rank], a [rank, columns]. */
  readonly dh: number;
  readonly a: number;
  readonly rank: number;
  /** [rows, columns] each: results. */
  readonly dgate: number;
  readonly dup: number;
  /** With a selection, the kept channels of sparse rows of both, side by side: [rows − dense, kept + kept]. */
  readonly keptD: number;
}

export function branchActivationGrad(backend: CudaBackend, of: GateAndUp, gradient: ActivationGradient): void {
  const { rows, columns, gate, up, keptZ, h, ofGate, ofUp, keep } = of;
  const { dy, keptDy, dh, a, rank, dgate, dup, keptD } = gradient;
  const R = variantFor(ofGate.rank, ofUp.rank, rank);
  const parameters = `${'p'.repeat(14)}${'i'.repeat(8)}ff`;
  const kernel = backend.kernel('branch-activation', 'branch_activation_grad', parameters, { RANK: String(R) });
  const inputs = [gate, up, keptZ, h, ofGate.b, ofUp.b, keep?.indices ?? 0, dy, keptDy, dh, a];
  const sizes = [rows, keep?.dense ?? rows, columns, keep?.kept ?? 0];
  const ranks = [ofGate.rank + ofUp.rank, ofGate.rank, ofUp.rank, rank];
  const numbers = [...sizes, ...ranks, ofGate.scaling, ofUp.scaling];
  const args = [...inputs, dgate, dup, keptD, ...numbers];
  backend.launch(kernel, gridOf(of), [THREADS], args, sharedBytes(R, keep ? 3 : 0));
}

declareVariants(
  'branch-activation',
  RANKS.map((RANK) => ({ RANK: String(RANK) })),
);
