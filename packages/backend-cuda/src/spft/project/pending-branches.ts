/**
 * @file Outputs of frozen products to which their branches are still to be added (`SpftProjectRows` with `turnedNext`). Attention reads queries and keys turned by
 * their positions and nobody else reads them, so whoever turns them adds the branch in the same pass: that reads and writes them once less, which is 84 MB a layer of
 * Llama-3-8B's shape and 4,096 tokens. Who reads one all the same finds it whole: what is missing is added in its memory then.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { type OutputPart, outputsInOneLaunch, type Turning, turnsInOneLaunch } from './branch-outputs.js';
import type { BranchGroup } from './branches.js';

interface Pending {
  readonly of: PendingBranches;
  readonly layer: number;
}

export class PendingBranches {
  readonly #backend: CudaBackend;
  readonly #T: number;
  readonly #rank: number;
  readonly #parts: readonly OutputPart[];
  /** What the parts read beside their own memory: h, the B's, indices. None is updated in place while it is held. */
  readonly #held: readonly TensorInfo[];
  readonly #left: Set<number>;
  readonly #alive: Set<number>;

  /**
   * @param ys whose branches are left to be added, on top of what they hold.
   * @param parts one for each.
   */
  constructor(
    backend: CudaBackend,
    ys: readonly TensorInfo[],
    parts: readonly OutputPart[],
    h: TensorInfo,
    { of, rank }: BranchGroup,
    masks: readonly TensorInfo[],
  ) {
    this.#backend = backend;
    this.#T = h.shape[0]!;
    this.#rank = rank;
    this.#parts = parts;
    this.#held = [h, ...of.map((part) => part!.branch.b), ...masks].map((info) => backend.share(info));
    this.#left = new Set(parts.keys());
    this.#alive = new Set(parts.keys());
    ys.forEach((y, layer) => {
      const recipe: Pending = { of: this, layer };
      backend.finishLater(y, {
        recipe,
        make: () => this.#left.has(layer) && this.#finish(),
        end: () => this.#end(layer),
      });
    });
  }

  /** Adds all branches that are left, where they belong. */
  #finish(): void {
    const left = [...this.#left];
    this.#launch(
      left.map((layer) => this.#parts[layer]!),
      null,
    );
    this.#left.clear();
  }

  /**
   * New tensors [T, out] of the first two layers, whole and turned; owned by the caller. The other layers are finished, these stay as they are.
   * @returns null where that cannot be done.
   */
  turned(turning: Turning): [TensorInfo, TensorInfo] | null {
    if (!turnsInOneLaunch(turning) || !this.#left.has(0) || !this.#left.has(1)) return null;
    const backend = this.#backend;
    const made: TensorInfo[] = [];
    const parts = [...this.#left].map((layer) => {
      const part = this.#parts[layer]!;
      if (layer > 1) return part;
      const y = backend.output([this.#T, part.out], 'float32', 'bf16');
      made.push(y);
      return { ...part, y: backend.address(y), turns: true };
    });
    this.#launch(parts, turning);
    for (const layer of this.#left) if (layer > 1) this.#left.delete(layer);
    return made as [TensorInfo, TensorInfo];
  }

  #launch(parts: readonly OutputPart[], turning: Turning | null): void {
    outputsInOneLaunch(this.#backend, this.#T, parts, this.#backend.address(this.#held[0]!), this.#rank, turning);
  }

  #end(layer: number): void {
    this.#left.delete(layer);
    this.#alive.delete(layer);
    if (this.#alive.size === 0) for (const info of this.#held) this.#backend.release(info);
  }
}

/** The branches that are still to be added to the first two layers' outputs, where q and k are those. */
export function pendingOfBoth(backend: CudaBackend, q: TensorInfo, k: TensorInfo): PendingBranches | null {
  const [first, second] = [backend.recipeOf(q), backend.recipeOf(k)] as (Partial<Pending> | null)[];
  const { of } = first ?? {};
  return of instanceof PendingBranches && first!.layer === 0 && second?.of === of && second.layer === 1 ? of : null;
}
