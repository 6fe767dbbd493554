/**
 * @file Which of cuBLASLt's algorithms is the fastest for a product: measured once on a GPU, then read from a file. `SPFT_CUDA_TUNE=0` takes
 * its first proposal always.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Device } from './device.js';
import { kernelCache } from './modules.js';

/** How often each proposal is measured. */
const TURNS = 3;

export class AlgorithmChoices {
  readonly #path: string;
  readonly #chosen: Map<string, number>;
  readonly #tunes = process.env.SPFT_CUDA_TUNE !== '0';

  constructor({ info }: Device) {
    const device = `${info.name} ${info.driver}`.replace(/[^A-Za-z0-9.]+/g, '-');
    this.#path = join(kernelCache(), `algorithms-${device}.json`);
    this.#chosen = new Map(Object.entries(this.#read()));
  }

  /** Place of the fastest of `count` proposals. */
  of(product: string, count: number, time: (place: number) => number): number {
    if (!this.#tunes) return 0;
    const known = this.#chosen.get(product);
    if (known !== undefined && known < count) return known;
    // In turns: the longer a GPU works, the lower its clock, and all of them should feel that alike.
    const taken = new Array<number>(count).fill(Number.POSITIVE_INFINITY);
    for (let turn = 0; turn < TURNS; turn++) {
      for (let place = 0; place < count; place++) taken[place] = Math.min(taken[place]!, time(place));
    }
    // A later one must be clearly faster, so that noise does not decide.
    const best = taken.reduce((best, time, place) => (time < 0.99 * taken[best]! ? place : best), 0);
    this.#chosen.set(product, best);
    this.#write();
    return best;
  }

  #read(): Record<string, number> {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as Record<string, number>;
    } catch {
      return {};
    }
  }

  #write(): void {
    try {
      mkdirSync(kernelCache(), { recursive: true });
      const beside = `${this.#path}.${process.pid}`;
      writeFileSync(beside, JSON.stringify({ ...this.#read(), ...Object.fromEntries(this.#chosen) }));
      renameSync(beside, this.#path);
    } catch {
      // measured again next time
    }
  }
}
