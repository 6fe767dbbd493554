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
const rounded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Spaces lie so far apart in the arena's own numbers: where they lie on the device decides nothing, and none touches another. */
const APART = 2 ** 44;

interface Span {
  at: number;
  bytes: number;
}

export class Arena {
  readonly #spaces: readonly Space[];
  /** In order of their places. */
  readonly #free: Span[];
  readonly #used = new Map<number, number>();

  constructor(spaces: readonly Space[]) {
    this.#spaces = spaces;
    this.#free = spaces.map(({ bytes }, n) => ({ at: n * APART, bytes: bytes - (bytes % ALIGNMENT) }));
  }

  /** Places given out and not taken back. */
  get live(): number {
    return this.#used.size;
  }

  /** An address with `bytes` behind it, in the smallest span that has room; null where none has. */
  allocate(bytes: number): number | null {
    const size = rounded(bytes);
    let best: Span | null = null;
    for (const span of this.#free) if (span.bytes >= size && (best === null || span.bytes < best.bytes)) best = span;
    if (best === null) return null;
    const { at } = best;
    if (best.bytes === size) this.#free.splice(this.#free.indexOf(best), 1);
    else {
      best.at += size;
      best.bytes -= size;
    }
    this.#used.set(at, size);
    return this.#spaces[Math.floor(at / APART)]!.address + (at % APART);
  }

  free(address: number): void {
    const n = this.#spaces.findIndex((space) => address >= space.address && address < space.address + space.bytes);
    const at = n * APART + address - (this.#spaces[n]?.address ?? 0);
    const bytes = this.#used.get(at);
    if (bytes === undefined) throw new Error(`internal: nothing of the arena is at ${address}`);
    this.#used.delete(at);
    const free = this.#free;
    let [low, high] = [0, free.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (free[middle]!.at < at) low = middle + 1;
      else high = middle;
    }
    const [before, after] = [free[low - 1], free[low]];
    const joinsBefore = before !== undefined && before.at + before.bytes === at;
    const joinsAfter = after !== undefined && at + bytes === after.at;
    if (joinsBefore && joinsAfter) {
      before.bytes += bytes + after.bytes;
      free.splice(low, 1);
    } else if (joinsBefore) before.bytes += bytes;
    else if (joinsAfter) {
      after.at = at;
      after.bytes += bytes;
    } else free.splice(low, 0, { at, bytes });
  }
}

/** What a step allocated and freed, in order: n ≥ 0 allocates so many bytes, −1 − k frees the k-th allocation. */
export type AllocationTrace = readonly number[];

/** Bytes of the first allocation that has no room; 0 where all have. */
function firstWithoutRoom(trace: AllocationTrace, spaces: readonly Space[]): number {
  const arena = new Arena(spaces);
  const places: number[] = [];
  for (const entry of trace) {
    if (entry < 0) {
      arena.free(places[-1 - entry]!);
      continue;
    }
    const place = arena.allocate(entry);
    if (place === null) return rounded(entry);
    places.push(place);
  }
  return 0;
}

/** Most bytes at one time. */
function peakOf(trace: AllocationTrace): number {
  const sizes: number[] = [];
  let [now, peak] = [0, 0];
  for (const entry of trace) {
    if (entry >= 0) sizes.push(rounded(entry));
    now += entry >= 0 ? sizes.at(-1)! : -sizes[-1 - entry]!;
    peak = Math.max(peak, now);
  }
  return peak;
}

/** Beyond all of the device's addresses. */
const NOWHERE = 2 ** 49;

/**
 * Bytes of the space that a step of this trace needs beside `spaces`: 0 where these are enough. Tried out, as how memory is broken up depends on how
 * much there is.
 */
export function bytesMissing(trace: AllocationTrace, spaces: readonly Space[]): number {
  const total = spaces.reduce((sum, { bytes }) => sum + bytes, 0);
  const without = (bytes: number) => firstWithoutRoom(trace, [...spaces, { address: NOWHERE, bytes }]);
  if (firstWithoutRoom(trace, spaces) === 0) return 0;
  let tooFew = 0;
  let missing = Math.max(ALIGNMENT, rounded(peakOf(trace) - total));
  for (let short = without(missing); short > 0; short = without(missing)) {
    tooFew = missing;
    // A hundredth at a time at least, so that few tries are enough.
    missing += Math.max(short, rounded(missing / 100));
  }
  // By halves back to what is hardly more than wanted: of a step of 12 GB a hundredth is 120 MB.
  while (tooFew > 0 && missing - tooFew > missing / 2000) {
    const middle = rounded((missing + tooFew) / 2);
    if (middle >= missing) break;
    if (without(middle) === 0) missing = middle;
    else tooFew = middle;
  }
  return missing;
}
