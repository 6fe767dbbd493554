/// <reference types="@webgpu/types" />
/**
 * @file The numbers that dispatches are told, written on the host and sent in one piece when commands are submitted; and lists of whole numbers, of
 * which every layer of a step wants the same.
 *
 * A queue runs what it is given in order, so one buffer serves every submission: its next contents are written after the last commands
 * that read it.
 */
import { PARAMS_BYTES } from './bind-groups.js';

/** Parameters of a submission. */
const CAPACITY = 2 ** 17;
/** Of offsets of uniform buffers, as every implementation allows. */
const ALIGNMENT = 256;
/** Lists that are kept: a step has few. */
const MOST_LISTS = 16;

export class Arena {
  readonly params: GPUBuffer;
  readonly #words = new Uint32Array(CAPACITY / 4);
  readonly #lists = new Map<Int32Array | Float32Array, GPUBuffer>();
  /** Lists that made room for others, until no command that waits may read them. */
  #old: GPUBuffer[] = [];
  #used = 0;

  constructor(private readonly device: GPUDevice) {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.params = device.createBuffer({ label: 'params', size: CAPACITY, usage });
  }

  /** Whether parameters more have room before the next submission. */
  hasRoom(): boolean {
    return this.#used + ALIGNMENT <= CAPACITY;
  }

  /** Where in `params` the words will be when the commands run. There must be room. */
  put(words: Uint32Array): number {
    if (words.byteLength > PARAMS_BYTES) throw new Error(`internal: ${words.length} parameters`);
    const offset = this.#used;
    this.#words.set(words, offset / 4);
    this.#used = offset + ALIGNMENT;
    return offset;
  }

  /** A buffer with the numbers of a list that does not change; the same for the same array while it is among the last ones. */
  list(numbers: Int32Array | Float32Array): GPUBuffer {
    const known = this.#lists.get(numbers);
    if (known) return known;
    const size = Math.max(4, numbers.byteLength);
    const buffer = this.device.createBuffer({
      label: 'list',
      size,
      usage: GPUBufferUsage.STORAGE,
      mappedAtCreation: true,
    });
    new (numbers.constructor as Int32ArrayConstructor)(buffer.getMappedRange()).set(numbers);
    buffer.unmap();
    this.#lists.set(numbers, buffer);
    if (this.#lists.size > MOST_LISTS) {
      const [oldest, gone] = this.#lists.entries().next().value!;
      this.#lists.delete(oldest);
      this.#old.push(gone);
    }
    return buffer;
  }

  /** Sends what was put; to be called just before the submission. */
  send(): void {
    if (this.#used > 0) this.device.queue.writeBuffer(this.params, 0, this.#words, 0, this.#used / 4);
    this.#used = 0;
  }

  /** To be called after the submission. */
  submitted(): void {
    for (const buffer of this.#old) buffer.destroy();
    this.#old = [];
  }

  dispose(): void {
    this.submitted();
    for (const buffer of this.#lists.values()) buffer.destroy();
    this.params.destroy();
  }
}
