/** @file What products of codes by kernels of ours on Hopper have in common (cuda/code-tiles.cuh): tiles that clusters of two blocks make, and how many of them fill the GPU. */
import type { Device } from './device.js';
import type { Launcher } from './launch.js';
import type { Kernel } from './modules.js';
import { describe, type Product } from './product.js';
import { TensorMaps } from './tensor-map.js';

/** As in the header: rows of d that a block makes, and columns; rows and bytes of a row of which operands are copied at once; stages of the ring. */
export const TILE = { rows: 128, columns: 256, box: 64, inner: 128, stages: 4 } as const;
/** Bytes of the ring's tiles. */
export const RING_BYTES = TILE.stages * (TILE.rows + TILE.columns) * TILE.inner;

/** Tiles of two blocks below one another. */
const clustersOf = (rows: number, columns: number) =>
  Math.ceil(rows / (2 * TILE.rows)) * Math.ceil(columns / TILE.columns);

export class CodeTiles {
  readonly #device: Device;
  readonly #launcher: Launcher;
  /** How operands are copied; null on GPUs that have no such products. */
  readonly maps: TensorMaps | null;

  /** @param operands how many a product has at most. */
  constructor(device: Device, launcher: Launcher, operands: number) {
    this.#device = device;
    this.#launcher = launcher;
    this.maps = device.architecture === 'sm_90a' ? TensorMaps.of(device, operands) : null;
  }

  /** Whether tiles of [rows, columns] numbers keep so large a share of all multiprocessors at work until the last has ended. */
  fill(rows: number, columns: number, share: number): boolean {
    const [clusters, atOnce] = [clustersOf(rows, columns), Math.floor(this.#device.info.multiprocessors / 2)];
    return clusters >= share * atOnce * Math.ceil(clusters / atOnce);
  }

  /** Launches a kernel over the tiles of a product. A block goes on to other tiles, so there are no more than multiprocessors. @throws CudaError. */
  launch(kernel: Kernel, product: Product, args: readonly number[], sharedBytes: number): void {
    const { m, n, multiprocessors = this.#device.info.multiprocessors } = product;
    const blocks = 2 * Math.min(clustersOf(m, n), Math.floor(multiprocessors / 2));
    const name = this.#device.profiler ? `product ${describe(product)}` : kernel.name;
    this.#launcher.launch(kernel, [blocks], [384], args, sharedBytes, false, name);
  }
}
