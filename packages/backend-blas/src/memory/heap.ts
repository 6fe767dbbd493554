/**
 * @file The memory that BLAS, the SIMD kernels and JavaScript share: one WebAssembly memory.
 *
 * It is shared among threads, for the kernels' sake; and a shared memory never moves nor detaches, so that an address taken once stays true and
 * a typed array of a tensor stays valid while the memory grows.
 */
import { Allocator, type Block } from './allocator.js';

const PAGE = 65536;
/** Below 4 GiB by a page, so that the end of every block is a 32-bit number. */
const MOST_PAGES = 65535;
/** What is kept for scratch when tensors have filled the rest. */
const RESERVE = 256 * 2 ** 20;

export interface HeapOptions {
  /** Bytes at the beginning that are not given out. */
  readonly reserved: number;
  /** Bytes of tensors at most; for tests. */
  readonly limit?: number;
}

/** A `WebAssembly.Memory`, as far as it is used; the types of Node alone have no such name. */
export interface SharedMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

export class Heap {
  readonly memory: SharedMemory;
  /** Bytes of tensors at most. */
  readonly limit: number;
  readonly #allocator: Allocator;
  #buffer: ArrayBufferLike;
  #pages: number;

  constructor({ reserved, limit = MOST_PAGES * PAGE - RESERVE }: HeapOptions) {
    this.#pages = Math.ceil(reserved / PAGE);
    this.memory = new WebAssembly.Memory({ initial: this.#pages, maximum: MOST_PAGES + 1, shared: true });
    this.#buffer = this.memory.buffer;
    this.limit = limit;
    this.#allocator = new Allocator(reserved, MOST_PAGES * PAGE, (end) => this.#grow(end));
  }

  /** Bytes in use. */
  get used(): number {
    return this.#allocator.used;
  }

  /** Bytes that were ever needed at once. */
  get size(): number {
    return this.#pages * PAGE;
  }

  /** Room for a tensor, or null when the memory is full: then it has to live elsewhere. */
  allocate(bytes: number): Block | null {
    return this.#allocator.used + bytes > this.limit ? null : this.#allocator.allocate(bytes);
  }

  /** Room for the length of a call, from the reserve if need be. */
  takeScratch(bytes: number): Block | null {
    return this.#allocator.allocate(bytes);
  }

  free(block: Block): void {
    this.#allocator.free(block);
  }

  f32(address: number, length: number): Float32Array {
    return new Float32Array(this.#buffer, address, length);
  }

  i32(address: number, length: number): Int32Array {
    return new Int32Array(this.#buffer, address, length);
  }

  f64(address: number, length: number): Float64Array {
    return new Float64Array(this.#buffer, address, length);
  }

  #grow(end: number): boolean {
    const needed = Math.ceil(end / PAGE) - this.#pages;
    if (needed <= 0) return true;
    // A bit more than needed, as each growth is a system call and makes a new buffer object.
    const generous = Math.min(MOST_PAGES - this.#pages, Math.max(needed, this.#pages >> 3, 256));
    for (const pages of [generous, needed]) {
      try {
        this.memory.grow(pages);
        this.#pages += pages;
        this.#buffer = this.memory.buffer;
        return true;
      } catch {
        // the system has not so much
      }
    }
    return false;
  }
}
