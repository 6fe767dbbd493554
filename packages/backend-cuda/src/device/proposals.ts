/** @file The algorithms that cuBLASLt proposes for one product, best first by its own guess. */
import {
  ALGORITHM_BYTES,
  type CublasLtFunctions,
  HEURISTIC_BYTES,
  SETTING_BYTES,
  WORKSPACE_AT,
} from '../libraries/cublaslt.js';
import { HostMemory } from '../libraries/native.js';

const out = new HostMemory(16);

export class Proposals {
  readonly #results: HostMemory;
  readonly count: number;

  /** @param results of the heuristic, `count` of them. */
  constructor(results: HostMemory, count: number) {
    this.#results = results;
    this.count = count;
  }

  /** Where the algorithm is in the host's memory. */
  address(place: number): number {
    return this.#results.address + place * HEURISTIC_BYTES;
  }

  /** Bytes of workspace that it needs. */
  workspace(place: number): number {
    return Number(this.#results.memory.readBigUInt64LE(place * HEURISTIC_BYTES + WORKSPACE_AT));
  }

  /** Which algorithm it is, whatever the product: its settings, or where they are not told its bytes. */
  name(place: number, functions: CublasLtFunctions): string {
    const values = SETTING_BYTES.map((bytes, setting) => {
      out.memory.fill(0);
      const status = functions.cublasLtMatmulAlgoConfigGetAttribute(
        ...[this.address(place), setting, out.memory, bytes, out.address + 8],
      );
      return status === 0 ? out.memory.readUInt32LE(0) : '-';
    });
    if (values[0] !== '-') return values.join(',');
    const at = place * HEURISTIC_BYTES;
    return this.#results.memory.toString('hex', at, at + ALGORITHM_BYTES);
  }

  /** The names of all. */
  names(functions: CublasLtFunctions): string[] {
    return Array.from({ length: this.count }, (_, place) => this.name(place, functions));
  }
}
