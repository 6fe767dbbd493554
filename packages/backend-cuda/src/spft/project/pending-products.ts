/**
 * @file Queries and keys whose products are still to be made (`SpftProjectRows` with `turnedNext`), by a kernel that adds their branch and can turn them by their positions
 * before it writes them (device/code-products.ts): turning them in a pass of its own reads and writes 84 MB a layer of Llama-3-8B's shape and 4,096 tokens. Attention,
 * which alone reads them, asks for them turned; who reads one all the same gets it as it is.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { LowRank, Turn } from '../../device/product.js';
import { writtenAlong } from '../../forms/codes-along.js';
import { timesWeight, withActivations } from '../../forms/form.js';
import type { Layer } from './layers.js';

/** Numbers of a head that the kernel turns. */
export const TURNED_HEAD = 128;

class PendingProduct {
  readonly #backend: CudaBackend;
  readonly #lowRank: LowRank;
  /** x, the weight, and what the branch reads. */
  readonly #held: readonly [TensorInfo, TensorInfo, ...TensorInfo[]];

  constructor(backend: CudaBackend, x: TensorInfo, { weight, lora }: Layer, h: TensorInfo, lowRank: LowRank) {
    this.#backend = backend;
    this.#lowRank = lowRank;
    this.#held = [backend.share(x), backend.share(weight), backend.share(h), backend.share(lora!.b)];
  }

  /** Makes it at an address. */
  make(to: number, turn?: Turn): void {
    const [x, weight] = this.#held;
    withActivations(this.#backend, x, 'bf16', (x) => {
      timesWeight(this.#backend, x, weight, { d: to, type: 'bf16', beta: 0, lowRank: this.#lowRank, turn });
    });
  }

  /** [T, out], turned; owned by the caller. */
  turned(turn: Turn): TensorInfo {
    const [x, weight] = this.#held;
    const y = this.#backend.output([x.shape[0]!, weight.shape[0]!], 'float32', 'bf16');
    this.make(this.#backend.address(y), turn);
    return y;
  }

  end(): void {
    for (const info of this.#held) this.#backend.release(info);
  }
}

/** Whether a layer's product may be left to who turns what it gives. @param x the input of all rows, whose codes must be there as long. */
export const leavesProduct = (backend: CudaBackend, x: TensorInfo, { weight, bias }: Layer): boolean =>
  bias === null && weight.shape[0]! % TURNED_HEAD === 0 && writtenAlong(backend, x) !== null;

/** y [T, out] of a layer with a branch, made when it is read; owned by the caller. @param lowRank the branch, which its product adds. */
export function productToTurn(
  backend: CudaBackend,
  x: TensorInfo,
  layer: Layer,
  h: TensorInfo,
  lowRank: LowRank,
): TensorInfo {
  const recipe = new PendingProduct(backend, x, layer, h, lowRank);
  const shape = [x.shape[0]!, layer.weight.shape[0]!];
  return backend.later(shape, 'float32', 'bf16', { recipe, make: (to) => recipe.make(to), end: () => recipe.end() });
}

/** Both turned, owned by the caller; null where these are no products that can be. */
export function turnedProducts(
  backend: CudaBackend,
  both: readonly [TensorInfo, TensorInfo],
  { headDim, ...turn }: Turn & { readonly headDim: number },
): [TensorInfo, TensorInfo] | null {
  const [q, k] = both.map((info) => backend.recipeOf(info));
  if (!(q instanceof PendingProduct && k instanceof PendingProduct)) return null;
  if (headDim !== TURNED_HEAD || [turn.cos, turn.sin].some((address) => address % 8 !== 0)) return null;
  return [q.turned(turn), k.turned(turn)];
}
