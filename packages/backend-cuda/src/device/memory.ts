/**
 * @file Device memory: stream-ordered allocation, and who holds how much of it.
 *
 * The driver's pool hands out memory in 2.6 µs (allocation and release, H200) and knows that all work is on one stream, so a block is used
 * again while the kernel that read it is still queued. Nothing goes back to the system until it is asked for.
 */
import { CudaError, CudaOutOfMemoryError, type Holder } from '../errors.js';
import { CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERRORS, isContextLost, POOL_ATTRIBUTE } from '../libraries/driver.js';
import { HostMemory } from '../libraries/native.js';
import { markBlock } from '../recording/asides.js';
import type { Block } from './block.js';
import { type Device, driverError } from './device.js';

export type { Block } from './block.js';

const out = new HostMemory(16);
/** Its first 8 bytes; a big integer would be made for each address. */
const words = new Uint32Array(out.memory.buffer, out.memory.byteOffset, 2);

export class Memory {
  readonly #device: Device;
  readonly #pool: number;
  readonly #held = new Map<string, { bytes: number; tensors: number }>();
  /** Of live blocks, now and at most since the last `resetPeak`: what a step needs, however far the host runs ahead of the GPU. */
  bytes = 0;
  peakBytes = 0;

  constructor(device: Device) {
    this.#device = device;
    this.#pool = device.memoryPool;
    out.memory.writeBigUInt64LE(2n ** 64n - 1n, 0);
    device.call('cuMemPoolSetAttribute', this.#pool, POOL_ATTRIBUTE.releaseThreshold, out.address);
  }

  /** @throws CudaOutOfMemoryError, after what the pool keeps unused was given back and it was tried again. */
  allocate(bytes: number, by: string): Block {
    // The driver refuses empty blocks, and a tensor without elements needs a place too.
    const size = Math.max(bytes, 16);
    const { driver, stream, recording } = this.#device;
    if (recording?.capturing) return markBlock(recording.allocate(size, by), recording.asides);
    // For more than there is the driver is not asked: what it may take on the way to failing, other processes on the GPU would lack meanwhile.
    if (size > this.#device.info.totalBytes) throw this.#outOfMemory(size);
    let status = driver.cuMemAllocAsync(out.address, size, stream);
    if (status === CUDA_ERROR_OUT_OF_MEMORY) {
      this.trim();
      status = driver.cuMemAllocAsync(out.address, size, stream);
    }
    if (status === CUDA_ERROR_OUT_OF_MEMORY) throw this.#outOfMemory(size);
    if (status !== 0)
      throw new CudaError('cuMemAllocAsync', status, CUDA_ERRORS[status] ?? 'CUresult', `${size} bytes`);
    const address = words[0]! + words[1]! * 2 ** 32;
    const held = this.#held.get(by);
    if (held) {
      held.bytes += size;
      held.tensors++;
    } else this.#held.set(by, { bytes: size, tensors: 1 });
    this.bytes += size;
    if (this.bytes > this.peakBytes) this.peakBytes = this.bytes;
    const block: Block = { address, bytes: size, by, users: 1 };
    recording?.allocated(block);
    return markBlock(block, recording?.asides);
  }

  /** New memory with something in it; none where it cannot be filled. */
  filled(bytes: number, by: string, fill: (address: number) => void): Block {
    const block = this.allocate(bytes, by);
    try {
      fill(block.address);
    } catch (error) {
      this.release(block);
      throw error;
    }
    return block;
  }

  /** Runs `f` with memory that is given back after it. */
  scratch<T>(bytes: number, by: string, f: (address: number) => T): T {
    const block = this.allocate(bytes, by);
    try {
      return f(block.address);
    } finally {
      this.release(block);
    }
  }

  /** A part of a block, which lives as long as any of its parts. */
  part(whole: Block, offset: number, bytes: number): Block {
    whole.users++;
    const { by, aside } = whole;
    return { address: whole.address + offset, bytes, by, users: 1, whole, ...(aside && { aside }) };
  }

  /** One user less; frees the block after the last one. */
  release(block: Block): void {
    if (--block.users > 0 || block.holds) return;
    this.#end(block);
  }

  /** Keeps a block until `letGo`, without being one of its users. */
  hold(block: Block): void {
    block.holds = (block.holds ?? 0) + 1;
  }

  letGo(block: Block): void {
    block.holds!--;
    if (!block.holds && block.users <= 0) this.#end(block);
  }

  #end(block: Block): void {
    if (block.whole) {
      this.release(block.whole);
      return;
    }
    if (!this.#device.recording?.asides.putOff(block.bytes, () => this.#free(block))) this.#free(block);
  }

  #free(block: Block): void {
    if (block.arena) {
      block.arena.free(block.address);
      return;
    }
    const { driver, stream, isOpen, recording } = this.#device;
    // The graph has nothing to do with it, and might otherwise still use it.
    if (recording?.capturing) {
      recording.freed.push(block);
      return;
    }
    recording?.released(block);
    const held = this.#held.get(block.by)!;
    held.bytes -= block.bytes;
    held.tensors--;
    this.bytes -= block.bytes;
    // With the context all memory went, and its addresses may be another's by now.
    if (!isOpen) return;
    const status = driver.cuMemFreeAsync(block.address, stream);
    if (status !== 0 && !isContextLost(status)) throw driverError('cuMemFreeAsync', status);
  }

  /** Gives back to the system what the pool keeps for later. */
  trim(): void {
    this.#device.synchronize();
    this.#device.call('cuMemPoolTrimTo', this.#pool, 0);
  }

  /** Bytes that the pool has taken from the system, at most since the last `resetPeak`. */
  get peakReservedBytes(): number {
    return this.#attribute(POOL_ATTRIBUTE.reservedPeak);
  }

  resetPeak(): void {
    this.peakBytes = this.bytes;
    out.memory.writeBigUInt64LE(0n, 0);
    this.#device.call('cuMemPoolSetAttribute', this.#pool, POOL_ATTRIBUTE.reservedPeak, out.address);
  }

  /** Who holds most, most first. */
  holders(count = 5): Holder[] {
    return [...this.#held]
      .map(([by, { bytes, tensors }]) => ({ by, bytes, tensors }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, count);
  }

  #attribute(attribute: number): number {
    this.#device.call('cuMemPoolGetAttribute', this.#pool, attribute, out.address);
    return Number(out.memory.readBigUInt64LE(0));
  }

  /** Bytes of the GPU, and those of them that nobody has taken, other processes included. */
  onDevice(): { free: number; total: number } {
    this.#device.call('cuMemGetInfo_v2', out.address, out.address + 8);
    return { free: Number(out.memory.readBigUInt64LE(0)), total: Number(out.memory.readBigUInt64LE(8)) };
  }

  /** Bytes of the GPU that are taken and not by this pool: by other processes, the display, and this process's own context. */
  get takenElsewhere(): number {
    const { free, total } = this.onDevice();
    return Math.max(0, total - free - this.#attribute(POOL_ATTRIBUTE.reserved));
  }

  #outOfMemory(wanted: number): CudaOutOfMemoryError {
    const { free, total } = this.onDevice();
    return new CudaOutOfMemoryError(wanted, free, total, this.holders());
  }
}
