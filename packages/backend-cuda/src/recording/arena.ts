/**
 * @file Where a recorded step's tensors lie: places in a few pieces of device memory, given out by the host. The same requests get the same
 * places, so that a run that is only watched tells how much a recording will need.
 *
 * Steps run one after the other, so all recordings use the same memory.
 */

/** A piece of memory. */
export interface Space {
  readonly address: number;
  readonly bytes: number;
}

/** What the driver's own allocations are aligned to at least. */
const ALIGNMENT = 512;

interface Span {
  address: number;
  bytes: number;
}

export class Arena {
  /** By address. */
  readonly #free: Span[];
  readonly #used = new Map<number, number>();

  /** Largest end of what was given out in a space, in bytes from its begin. */
  readonly #ends: number[];

  constructor(readonly spaces: readonly Space[]) {
    this.#free = spaces
      .map(({ address, bytes }) => ({ address, bytes }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => a.address - b.address);
    this.#ends = spaces.map(() => 0);
  }

  /** Places given out and not taken back. */
  get live(): number {
    return this.#used.size;
  }

  /** Bytes of space `n` that were ever used. */
  reached(n: number): number {
    return this.#ends[n]!;
  }

  /** An address with `bytes` behind it, in the smallest span that has room; null where none has. */
  allocate(bytes: number): number | null {
    const size = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    let best = -1;
    for (let n = 0; n < this.#free.length; n++) {
      const span = this.#free[n]!;
      if (span.bytes >= size && (best < 0 || span.bytes < this.#free[best]!.bytes)) best = n;
    }
    if (best < 0) return null;
    const span = this.#free[best]!;
    const { address } = span;
    if (span.bytes === size) this.#free.splice(best, 1);
    else {
      span.address += size;
      span.bytes -= size;
    }
    this.#used.set(address, size);
    const n = this.spaces.findIndex((space) => address >= space.address && address < space.address + space.bytes);
    this.#ends[n] = Math.max(this.#ends[n]!, address + size - this.spaces[n]!.address);
    return address;
  }

  free(address: number): void {
    const bytes = this.#used.get(address);
    if (bytes === undefined) throw new Error(`internal: nothing of the arena is at ${address}`);
    this.#used.delete(address);
    const free = this.#free;
    let [low, high] = [0, free.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (free[middle]!.address < address) low = middle + 1;
      else high = middle;
    }
    const [before, after] = [free[low - 1], free[low]];
    const joinsBefore =
      before !== undefined && before.address + before.bytes === address && this.#together(before.address, address);
    const joinsAfter =
      after !== undefined && address + bytes === after.address && this.#together(address, after.address);
    if (joinsBefore && joinsAfter) {
      before.bytes += bytes + after.bytes;
      free.splice(low, 1);
    } else if (joinsBefore) before.bytes += bytes;
    else if (joinsAfter) {
      after.address = address;
      after.bytes += bytes;
    } else free.splice(low, 0, { address, bytes });
  }

  /** Two spaces may lie one after the other; what is given out lies in one. */
  #together(a: number, b: number): boolean {
    return this.spaces.some(
      ({ address, bytes }) => a >= address && b < address + bytes && b >= address && a < address + bytes,
    );
  }
}

/** What a step allocated and freed, in order: n ≥ 0 allocates so many bytes, −1 − k frees the k-th allocation. */
export type AllocationTrace = readonly number[];

/** Address of a space that is not there yet: far from all of the device's. */
const VIRTUAL = 2 ** 50;

/** Bytes that a step of this trace needs beside what `spaces` have. */
export function bytesMissing(trace: AllocationTrace, spaces: readonly Space[]): number {
  const arena = new Arena([...spaces, { address: VIRTUAL, bytes: 2 ** 50 }]);
  const places: number[] = [];
  for (const entry of trace) {
    if (entry >= 0) places.push(arena.allocate(entry)!);
    else arena.free(places[-1 - entry]!);
  }
  return arena.reached(spaces.length);
}
