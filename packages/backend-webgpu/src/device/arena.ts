/// <reference types="@webgpu/types" />
/**
 * @file The numbers that dispatches are told: parameters and index lists, written on the host, sent in one piece when commands are submitted.
 *
 * A queue runs what it is given in order, so one buffer serves every submission: its next contents are written after the last commands
 * that read it.
 */

const CAPACITY = 2 ** 20;
/** Of offsets of uniform and storage buffers, as every implementation allows. */
const ALIGNMENT = 256;

export class Arena {
  readonly #bytes = new Uint8Array(CAPACITY);
  readonly #buffer: GPUBuffer;
  /** Lists that are larger than the arena, until their submission. */
  #large: GPUBuffer[] = [];
  #used = 0;

  constructor(private readonly device: GPUDevice) {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    this.#buffer = device.createBuffer({ size: CAPACITY, usage });
  }

  /** Whether so many words more have room before the next submission. */
  hasRoom(words: number): boolean {
    return 4 * words > CAPACITY || this.#used + 4 * words <= CAPACITY;
  }

  /** Where a copy of the words will be when the commands run. There must be room. */
  put(words: Uint32Array | Int32Array): GPUBufferBinding {
    const size = Math.max(4, words.byteLength);
    const source = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    if (size > CAPACITY) {
      const buffer = this.device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
      this.device.queue.writeBuffer(buffer, 0, source as BufferSource);
      this.#large.push(buffer);
      return { buffer };
    }
    const offset = this.#used;
    this.#bytes.set(source, offset);
    this.#used = Math.ceil((offset + size) / ALIGNMENT) * ALIGNMENT;
    return { buffer: this.#buffer, offset, size };
  }

  /** Sends what was put; to be called just before the submission. */
  send(): void {
    if (this.#used > 0) this.device.queue.writeBuffer(this.#buffer, 0, this.#bytes, 0, this.#used);
    this.#used = 0;
  }

  /** To be called after the submission. */
  submitted(): void {
    for (const buffer of this.#large) buffer.destroy();
    this.#large = [];
  }

  dispose(): void {
    this.submitted();
    this.#buffer.destroy();
  }
}
