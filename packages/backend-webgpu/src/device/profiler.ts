/// <reference types="@webgpu/types" />
/** @file Time of each dispatch on the GPU's own clock: every dispatch in a pass of its own, between two timestamps. */

/** Timestamps of a set, as many as WebGPU allows. */
const SET_SIZE = 4096;

export interface ProfileEntry {
  readonly name: string;
  readonly calls: number;
  /** 0 where the adapter has no timestamps, and for tfjs's own kernels, which are only counted. */
  readonly ms: number;
}

export class Profiler {
  readonly #labels: string[] = [];
  readonly #sets: GPUQuerySet[] = [];
  readonly #others = new Map<string, number>();

  constructor(
    private readonly device: GPUDevice,
    readonly timed = device.features.has('timestamp-query'),
  ) {}

  /** Of the pass for the next dispatch. */
  pass(label: string): GPUComputePassDescriptor {
    const at = 2 * this.#labels.length;
    this.#labels.push(label);
    if (!this.timed) return {};
    if (at % SET_SIZE === 0) this.#sets.push(this.device.createQuerySet({ type: 'timestamp', count: SET_SIZE }));
    const querySet = this.#sets.at(-1)!;
    const beginningOfPassWriteIndex = at % SET_SIZE;
    return {
      timestampWrites: { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex: beginningOfPassWriteIndex + 1 },
    };
  }

  /** A kernel that is not ours. */
  count(name: string): void {
    this.#others.set(name, (this.#others.get(name) ?? 0) + 1);
  }

  /** To be called when everything has been submitted. Largest first. */
  async entries(): Promise<ProfileEntry[]> {
    const sums = new Map<string, { calls: number; ms: number }>();
    const stamps = await this.#read();
    this.#labels.forEach((name, n) => {
      const sum = sums.get(name) ?? { calls: 0, ms: 0 };
      sum.calls++;
      if (stamps) sum.ms += Number(stamps[2 * n + 1]! - stamps[2 * n]!) / 1e6;
      sums.set(name, sum);
    });
    for (const [name, calls] of this.#others) sums.set(name, { calls, ms: 0 });
    return [...sums].map(([name, sum]) => ({ name, ...sum })).sort((a, b) => b.ms - a.ms || b.calls - a.calls);
  }

  async #read(): Promise<BigUint64Array | null> {
    if (this.#sets.length === 0) return null;
    const size = 8 * SET_SIZE * this.#sets.length;
    const usage = GPUBufferUsage;
    const stamps = this.device.createBuffer({ size, usage: usage.QUERY_RESOLVE | usage.COPY_SRC });
    const staging = this.device.createBuffer({ size, usage: usage.COPY_DST | usage.MAP_READ });
    const encoder = this.device.createCommandEncoder();
    this.#sets.forEach((set, n) => {
      const left = 2 * this.#labels.length - n * SET_SIZE;
      encoder.resolveQuerySet(set, 0, Math.min(left, SET_SIZE), stamps, 8 * n * SET_SIZE);
    });
    encoder.copyBufferToBuffer(stamps, 0, staging, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const values = new BigUint64Array(staging.getMappedRange().slice(0));
    for (const one of [stamps, staging, ...this.#sets]) one.destroy();
    return values;
  }
}
