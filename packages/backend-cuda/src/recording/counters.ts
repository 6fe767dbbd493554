/**
 * @file Counters of a step's products. Many of cuBLASLt's kernels hand out tiles by a counter, four bytes at the begin of their workspace, which a node of its own clears
 * before each: 380 to 440 in a step of Llama-3-8B's shape, and by CUPTI on an H200 kernels that else follow one another without a gap stand back for them for 1.6 ms of
 * the step. So a captured product whose algorithm wants little workspace gets one that no other product of its graph has; they lie side by side and are cleared at once
 * before each launch, and the nodes that clear them one by one are taken out of the graph (clearing-nodes.ts). An FP8 step of 127 ms takes 0.7 to 1.0 ms less; of a bf16
 * step no difference could be measured.
 */

/** Bytes of workspace up to which a product has one of its own: larger ones are for sums, too. */
const MOST = 2 ** 16;
const UNIT = 256;

/** Workspaces of the products of one run of a step, side by side. */
export class Counters {
  #used = 0;

  /** @param address memory of `room` bytes of a run that is captured; 0 of one that is watched, which only says how many that will be. */
  constructor(
    readonly address = 0,
    readonly room = 0,
  ) {}

  /** Bytes that were taken. */
  get used(): number {
    return this.#used;
  }

  /** A workspace of so many bytes for the next product; 0 where it is to have the one that all share. */
  take(bytes: number): number {
    const end = this.#used + UNIT * Math.ceil(bytes / UNIT);
    const captured = this.address !== 0;
    if (bytes === 0 || bytes > MOST || (captured && end > this.room)) return 0;
    const at = this.#used;
    this.#used = end;
    return captured ? this.address + at : 0;
  }
}
