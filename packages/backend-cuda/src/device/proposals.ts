/**
 * @file The algorithms that cuBLASLt proposes for one product, best first by its own guess, without those that fail where processes share a GPU.
 *
 * Kernels whose blocks work in clusters of eight end by an illegal instruction now and then when other processes use the GPU too, and from then on the
 * driver refuses all work of the process. Seen on an H200 (driver 580.159, cuBLASLt of CUDA 13.0): of 60 processes, twelve at once, that timed all
 * proposals, four failed so, each with `nvjet_sm90_…_2x4_…` at work by its core dump; of 48 that timed those of smaller clusters none did, and they took
 * 14 s instead of 20 to 26. Whether others will come is not known when a run begins, so large clusters are launched only where nothing else is proposed.
 */
import {
  ALGORITHM_BYTES,
  CLUSTER_SHAPE,
  type CublasLtFunctions,
  HEURISTIC_BYTES,
  SETTING_BYTES,
  SMALL_CLUSTERS,
  STATE_AT,
  WORKSPACE_AT,
} from '../libraries/cublaslt.js';
import { HostMemory } from '../libraries/native.js';

const out = new HostMemory(16);

export class Proposals {
  readonly #results: HostMemory;
  readonly #functions: CublasLtFunctions;
  /** Which of the results are launched. */
  readonly #kept: readonly number[];

  /** @param results of the heuristic, `count` of them. */
  constructor(results: HostMemory, count: number, functions: CublasLtFunctions) {
    this.#results = results;
    this.#functions = functions;
    const valid = Array.from({ length: count }, (_, n) => n).filter(
      (n) => results.memory.readInt32LE(n * HEURISTIC_BYTES + STATE_AT) === 0,
    );
    const safe = valid.filter((n) => SMALL_CLUSTERS.has(this.#setting(n, CLUSTER_SHAPE) ?? 0));
    this.#kept = safe.length > 0 ? safe : valid;
  }

  get count(): number {
    return this.#kept.length;
  }

  /** Where the algorithm is in the host's memory. */
  address(place: number): number {
    return this.#addressOf(this.#kept[place]!);
  }

  /** Bytes of workspace that it needs. */
  workspace(place: number): number {
    return Number(this.#results.memory.readBigUInt64LE(this.#kept[place]! * HEURISTIC_BYTES + WORKSPACE_AT));
  }

  /** Which algorithm it is, whatever the product: its settings, or where they are not told its bytes. */
  name(place: number): string {
    const result = this.#kept[place]!;
    const values = SETTING_BYTES.map((_, setting) => this.#setting(result, setting) ?? '-');
    if (values[0] !== '-') return values.join(',');
    const at = result * HEURISTIC_BYTES;
    return this.#results.memory.toString('hex', at, at + ALGORITHM_BYTES);
  }

  /** The names of all. */
  names(): string[] {
    return Array.from({ length: this.count }, (_, place) => this.name(place));
  }

  #addressOf(result: number): number {
    return this.#results.address + result * HEURISTIC_BYTES;
  }

  /** Undefined where this version of cuBLASLt does not tell it. */
  #setting(result: number, setting: number): number | undefined {
    out.memory.fill(0);
    const status = this.#functions.cublasLtMatmulAlgoConfigGetAttribute(
      ...[this.#addressOf(result), setting, out.memory, SETTING_BYTES[setting]!, out.address + 8],
    );
    return status === 0 ? out.memory.readUInt32LE(0) : undefined;
  }
}
