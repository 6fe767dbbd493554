/**
 * @file Which of cuBLASLt's algorithms is the fastest for a product: measured once on a GPU, then read from a file. `SPFT_CUDA_TUNE=0` takes
 * its first proposal always.
 *
 * A choice is an algorithm by its settings, not by its place among the proposals, and of no use unless cuBLASLt proposes it for the product at hand.
 * The file is of one GPU, driver and version of cuBLASLt; processes that write it at once keep each other's choices, the first one where they differ.
 */
import { join } from 'node:path';
import { readCached, writeCached } from './cache-files.js';
import type { Device } from './device.js';
import { kernelCache } from './modules.js';

/** How proposals are timed (`Gemm`): choices by other ways of timing are in files of other names. */
const MEASURED = 'in-graphs';
/** How often each proposal is measured. */
const TURNS = 3;
/** How much longer than the fastest one may take that is measured again: turns of one proposal differ by less. */
const BEHIND = 1.3;

export class AlgorithmChoices {
  readonly #path: string;
  readonly #chosen: Map<string, string>;
  /** False where the first proposal is taken always. */
  readonly tunes = process.env.SPFT_CUDA_TUNE !== '0';

  /** @param version of cuBLASLt. */
  constructor({ info }: Device, version: string) {
    const machine = `${info.name} ${info.driver} ${version}`.replace(/[^A-Za-z0-9.]+/g, '-');
    this.#path = join(kernelCache(), `algorithms-${MEASURED}-${machine}.json`);
    this.#chosen = this.#read();
  }

  /** What was chosen for `product`, as a place among the `algorithms` that are proposed for another; undefined where it is not among them. */
  known(product: string, algorithms: readonly string[]): number | undefined {
    const place = algorithms.indexOf(this.#chosen.get(product) ?? '');
    return this.tunes && place >= 0 ? place : undefined;
  }

  /**
   * Place of the fastest of `algorithms`, all of which are proposed for `product`.
   * @param time infinity for one that fails.
   */
  of(product: string, algorithms: readonly string[], time: (place: number) => number): number {
    if (!this.tunes) return 0;
    const known = this.known(product, algorithms) ?? this.#ofOthers(product, algorithms);
    if (known !== undefined) return known;
    // In turns: the longer a GPU works, the lower its clock, and all of them should feel that alike.
    const times = new Array<number>(algorithms.length).fill(Number.POSITIVE_INFINITY);
    let asked = [...algorithms.keys()];
    for (let turn = 0; turn < TURNS; turn++) {
      for (const place of asked) {
        const ms = time(place);
        // One that fails once, in whichever turn, is not chosen.
        times[place] = ms === Number.POSITIVE_INFINITY || turn === 0 ? ms : Math.min(times[place]!, ms);
      }
      const least = Math.min(...times);
      asked = asked.filter((place) => times[place]! <= BEHIND * least && times[place] !== Number.POSITIVE_INFINITY);
    }
    // A later one must be clearly faster, so that noise does not decide.
    const best = times.reduce((best, ms, place) => (ms < 0.99 * times[best]! ? place : best), 0);
    if (times[best] !== Number.POSITIVE_INFINITY) this.choose(product, algorithms[best]!);
    return best;
  }

  /** Takes `algorithm` for `product` from now on, also in other processes: what was chosen for it before has failed. */
  choose(product: string, algorithm: string): void {
    this.#chosen.set(product, algorithm);
    if (!this.tunes) return;
    const all = { ...Object.fromEntries(this.#chosen), ...Object.fromEntries(this.#read()), [product]: algorithm };
    writeCached(this.#path, Buffer.from(JSON.stringify(all)));
  }

  /** As `known`, of what another process has chosen since. */
  #ofOthers(product: string, algorithms: readonly string[]): number | undefined {
    const theirs = this.#read().get(product);
    if (theirs === undefined) return undefined;
    this.#chosen.set(product, theirs);
    return this.known(product, algorithms);
  }

  #read(): Map<string, string> {
    const contents = readCached(this.#path);
    try {
      const entries = Object.entries<unknown>(JSON.parse(contents?.toString() ?? '{}'));
      return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
    } catch {
      return new Map();
    }
  }
}
