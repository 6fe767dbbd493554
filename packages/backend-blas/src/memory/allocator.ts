/**
 * @file Places in one long stretch of memory: blocks in address order, neighbours that are free grow together, free ones are found by size.
 *
 * A training step asks for the same sizes again and again, so what was freed last in a size class is given out first: its bytes may still be
 * in the cache. Costs about 0.3 µs a call.
 */

/** Blocks begin at multiples of a cache line. */
const ALIGNMENT = 64;

export interface Block {
  /** In bytes. */
  readonly address: number;
  bytes: number;
  free: boolean;
  before: Block | null;
  after: Block | null;
  /** Where it stands in the list of its class, while free. */
  slot: number;
}

/** Eight classes for each power of two. */
function classOf(bytes: number): number {
  const power = 31 - Math.clz32(Math.min(bytes, 2 ** 32 - 1));
  const eighth = power < 3 ? 0 : Math.floor(bytes / 2 ** (power - 3)) & 7;
  return power * 8 + eighth;
}

const CLASSES = 32 * 8;

export class Allocator {
  readonly #free: Block[][] = Array.from({ length: CLASSES }, () => []);
  #last: Block | null = null;
  #end: number;
  #used = 0;

  /**
   * @param start first address.
   * @param limit address that is never passed.
   * @param grow is told the end that is needed; says whether it can be had.
   */
  constructor(
    start: number,
    private readonly limit: number,
    private readonly grow: (end: number) => boolean,
  ) {
    this.#end = Math.ceil(start / ALIGNMENT) * ALIGNMENT;
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  /** Address after the last block. */
  get end(): number {
    return this.#end;
  }

  /** A block of at least so many bytes, or null when there is no room. */
  allocate(wanted: number): Block | null {
    const bytes = Math.max(ALIGNMENT, Math.ceil(wanted / ALIGNMENT) * ALIGNMENT);
    const block = this.#find(bytes) ?? this.#extend(bytes);
    if (block === null) return null;
    this.#used += block.bytes;
    return block;
  }

  free(block: Block): void {
    if (block.free) throw new Error('internal: a block of memory was given back twice');
    this.#used -= block.bytes;
    let whole = block;
    if (block.before?.free) {
      whole = block.before;
      this.#unlist(whole);
      this.#swallow(whole);
    }
    if (whole.after?.free) {
      this.#unlist(whole.after);
      this.#swallow(whole);
    }
    this.#list(whole);
  }

  /** Makes a block one with the next. */
  #swallow(block: Block): void {
    const next = block.after!;
    block.bytes += next.bytes;
    block.after = next.after;
    if (next.after) next.after.before = block;
    else this.#last = block;
  }

  #find(bytes: number): Block | null {
    const own = classOf(bytes);
    const first = this.#free[own]!;
    for (let i = first.length - 1; i >= 0 && i >= first.length - 16; i--) {
      if (first[i]!.bytes >= bytes) return this.#use(first[i]!, bytes);
    }
    for (let n = own + 1; n < CLASSES; n++) {
      const list = this.#free[n]!;
      if (list.length > 0) return this.#use(list[list.length - 1]!, bytes);
    }
    return null;
  }

  /** Takes `bytes` of a free block; the rest stays free. */
  #use(block: Block, bytes: number): Block {
    this.#unlist(block);
    block.free = false;
    const rest = block.bytes - bytes;
    if (rest >= ALIGNMENT) {
      const { after } = block;
      const left: Block = {
        address: block.address + bytes,
        bytes: rest,
        free: true,
        before: block,
        after,
        slot: -1,
      };
      block.bytes = bytes;
      block.after = left;
      if (after) after.before = left;
      else this.#last = left;
      this.#list(left);
    }
    return block;
  }

  #extend(bytes: number): Block | null {
    const last = this.#last?.free ? this.#last : null;
    const start = last ? last.address : this.#end;
    if (start + bytes > this.limit || !this.grow(start + bytes)) return null;
    this.#end = start + bytes;
    if (last) {
      this.#unlist(last);
      last.bytes = bytes;
      last.free = false;
      return last;
    }
    const block: Block = { address: start, bytes, free: false, before: this.#last, after: null, slot: -1 };
    if (this.#last) this.#last.after = block;
    this.#last = block;
    return block;
  }

  #list(block: Block): void {
    const list = this.#free[classOf(block.bytes)]!;
    block.free = true;
    block.slot = list.length;
    list.push(block);
  }

  #unlist(block: Block): void {
    const list = this.#free[classOf(block.bytes)]!;
    const moved = list.pop()!;
    if (moved !== block) {
      list[block.slot] = moved;
      moved.slot = block.slot;
    }
    block.slot = -1;
  }
}
