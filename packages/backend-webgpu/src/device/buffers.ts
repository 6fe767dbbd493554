/// <reference types="@webgpu/types" />
/**
 * @file Buffers of the device: given out, taken back, and kept for the next of their size up to a bound.
 *
 * Stands in the place of tfjs's BufferManager, which keeps every buffer that was ever made: with batches of varying length that is a leak. What
 * lies here unused beyond `spare` bytes is given back to the device, oldest first, when commands have been submitted: before that a command
 * may still name it.
 */
import { WebGPUError } from '../errors.js';

/** Bytes that may lie unused, beside as much as is in use. */
const SPARE = 2 ** 28;

interface Unused {
  readonly buffer: GPUBuffer;
  readonly key: string;
}

/** Puts a buffer among others of its size, the oldest last. */
function insert(others: GPUBuffer[], buffer: GPUBuffer, numbers: WeakMap<GPUBuffer, number>): void {
  const number = numbers.get(buffer)!;
  let at = others.length;
  while (at > 0 && numbers.get(others[at - 1]!)! < number) at--;
  others.splice(at, 0, buffer);
}

const keyOf = (size: number, usage: number) => `${size}_${usage}`;

export class BufferPool {
  /** As tfjs reads them: of tensors and whatever else is in use, and of all. */
  numBytesUsed = 0;
  numBytesAllocated = 0;
  /** In use at most since the last `resetPeak`. */
  peakBytes = 0;
  readonly #used = new Set<GPUBuffer>();
  /** By size and usage. */
  readonly #unused = new Map<string, GPUBuffer[]>();
  /** A Set keeps the order in which they came back. */
  readonly #order = new Set<Unused>();
  /** In the order in which buffers were made. Of those that lie unused the first is given out, so that a step gets those of the step before it. */
  readonly #numbers = new WeakMap<GPUBuffer, number>();
  #made = 0;
  readonly #entries = new Map<GPUBuffer, Unused>();
  #unusedBytes = 0;

  constructor(
    readonly device: GPUDevice,
    readonly spare = SPARE,
  ) {}

  acquireBuffer(size: number, usage: number, mappedAtCreation = false, reuse = true): GPUBuffer {
    // WebGPU copies and maps whole words only, and binds no empty buffer.
    const bytes = Math.max(4, Math.ceil(size / 4) * 4);
    const buffer =
      (reuse ? this.#take(keyOf(bytes, usage)) : undefined) ?? this.#create({ size: bytes, usage, mappedAtCreation });
    this.#used.add(buffer);
    this.numBytesUsed += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.numBytesUsed);
    return buffer;
  }

  resetPeak(): void {
    this.peakBytes = this.numBytesUsed;
  }

  /** The largest buffer, in bytes, that a shader may have as a whole. */
  get largest(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (!this.#used.delete(buffer)) throw new Error('internal: a buffer was released that is not in use');
    this.numBytesUsed -= buffer.size;
    if (!reuse) {
      this.numBytesAllocated -= buffer.size;
      buffer.destroy();
      return;
    }
    const entry = { buffer, key: keyOf(buffer.size, buffer.usage) };
    const others = this.#unused.get(entry.key);
    if (others) insert(others, buffer, this.#numbers);
    else this.#unused.set(entry.key, [buffer]);
    this.#order.add(entry);
    this.#entries.set(buffer, entry);
    this.#unusedBytes += buffer.size;
  }

  /** Gives back what lies unused beyond the bound. To be called when nothing that was encoded waits for its submission. */
  trim(most = Math.max(this.spare, this.numBytesUsed)): void {
    if (this.#unusedBytes <= most) return;
    for (const { buffer, key } of this.#order) {
      const others = this.#unused.get(key)!;
      others.splice(others.indexOf(buffer), 1);
      if (others.length === 0) this.#unused.delete(key);
      this.#forget(buffer);
      this.numBytesAllocated -= buffer.size;
      buffer.destroy();
      if (this.#unusedBytes <= most) return;
    }
  }

  getNumUsedBuffers(): number {
    return this.#used.size;
  }

  getNumFreeBuffers(): number {
    return this.#entries.size;
  }

  dispose(): void {
    for (const buffer of [...this.#used, ...this.#entries.keys()]) buffer.destroy();
    this.#used.clear();
    this.#unused.clear();
    this.#order.clear();
    this.#entries.clear();
    this.#unusedBytes = 0;
    this.numBytesUsed = 0;
    this.numBytesAllocated = 0;
  }

  /** @throws WebGPUError for more bytes than a shader may have of one buffer: WebGPU would say so later, and of another command. */
  #create(descriptor: GPUBufferDescriptor): GPUBuffer {
    const most = this.largest;
    if (descriptor.size > most) {
      throw new WebGPUError(
        'limit',
        `a tensor of ${descriptor.size} bytes is wanted, and this device has buffers of ${most} bytes at most; take a smaller model, shorter or ` +
          "fewer sequences a batch, or the backend 'wasm'",
      );
    }
    const buffer = this.device.createBuffer(descriptor);
    this.#numbers.set(buffer, this.#made++);
    this.numBytesAllocated += descriptor.size;
    return buffer;
  }

  #take(key: string): GPUBuffer | undefined {
    const others = this.#unused.get(key);
    const buffer = others?.pop();
    if (buffer) this.#forget(buffer);
    return buffer;
  }

  #forget(buffer: GPUBuffer): void {
    this.#order.delete(this.#entries.get(buffer)!);
    this.#entries.delete(buffer);
    this.#unusedBytes -= buffer.size;
  }
}
