/**
 * @file The buffers in which layers are whole for a while, and what is brought to them when: the order of gathers and of what may overwrite what.
 *
 * A gather begins after all that the backend's stream was asked for so far, so that nobody still reads what it overwrites; a layer's first use waits for
 * its gather. The next layer's gather is launched with that first use: it overwrites the layer before, whose kernels were launched by then.
 */
import type { Communicator } from '../collectives/communicator.js';
import type { Block } from '../device/block.js';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import type { Gathered } from '../storage.js';

/** Bytes of a matrix, of a layer's shard and of its buffer. */
export interface Part {
  /** From the begin of the rank's memory for this layer. */
  readonly local: number;
  /** Bytes of each rank. */
  readonly shard: number;
  /** From the begin of the buffer. */
  readonly offset: number;
  readonly bytes: number;
}

/** What gathering needs of the backend. */
export interface GatherHost {
  readonly device: Device;
  readonly memoryPool: Memory;
}

interface Buffer {
  /** Its memory; null before it is wanted. */
  block: Block | null;
  layer: GatheredLayer | null;
  /** What `join` takes, where the gather is not joined yet. */
  done: number | null;
}

export class Buffers {
  readonly #host: GatherHost;
  readonly #communicator: Communicator;
  readonly #buffers: Buffer[];
  readonly #layers: (GatheredLayer | null)[] = [];
  #bytes = 0;
  /** The layer that was used last, and which way layers come. */
  #current: GatheredLayer | null = null;
  #direction: 1 | -1 = 1;
  readonly #counts = { exposed: 0, ahead: 0 };

  constructor(host: GatherHost, communicator: Communicator, buffers: number) {
    if (!(Number.isInteger(buffers) && buffers >= 2)) {
      throw new RangeError(
        `shardWeights: buffers is ${buffers}, must be a whole number from 2 on: one layer's use is another's gather`,
      );
    }
    this.#host = host;
    this.#communicator = communicator;
    this.#buffers = Array.from({ length: buffers }, () => ({ block: null, layer: null, done: null }));
  }

  get counts(): { readonly exposed: number; readonly ahead: number } {
    return { ...this.#counts };
  }

  /** Layers come in the order of the model. @param local memory of its shard, taken over. @param bytes of the whole layer. */
  add(local: Block, parts: readonly Part[], bytes: number): GatheredLayer {
    if (bytes > this.#bytes) {
      this.settle();
      this.#giveUp();
      this.#bytes = bytes;
    }
    const layer = new GatheredLayer(this, this.#layers.length, local, parts);
    this.#layers.push(layer);
    return layer;
  }

  /** Where a layer's buffer begins. */
  addressOf(layer: GatheredLayer): number {
    return this.#blockOf(this.#bufferOf(layer)).address;
  }

  ensure(layer: GatheredLayer): void {
    if (layer === this.#current) return;
    const buffer = this.#bufferOf(layer);
    if (buffer.layer !== layer) {
      this.#counts.exposed++;
      this.#gather(layer);
    }
    this.#join(buffer);
    if (this.#current) this.#direction = layer.index > this.#current.index ? 1 : -1;
    this.#current = layer;
    this.#begin(this.#next(layer));
  }

  settle(): void {
    for (const buffer of this.#buffers) this.#join(buffer);
    this.forget();
  }

  /** As `settle`, without waiting for what was captured and will never be done. */
  forget(): void {
    for (const buffer of this.#buffers) {
      if (buffer.done !== null) this.#communicator.discard(buffer.done);
      buffer.done = null;
      buffer.layer = null;
    }
    this.#current = null;
    this.#direction = 1;
  }

  /** A layer's matrices are gone. */
  remove(layer: GatheredLayer): void {
    this.#layers[layer.index] = null;
    if (this.#host.device.isOpen) this.#leave(layer);
    this.#host.memoryPool.release(layer.local);
    if (this.#layers.some((each) => each !== null)) return;
    this.#layers.length = 0;
    this.#giveUp();
    this.#bytes = 0;
  }

  #leave(layer: GatheredLayer): void {
    if (this.#current === layer) this.#current = null;
    const buffer = this.#bufferOf(layer);
    if (buffer.layer !== layer) return;
    this.#join(buffer);
    buffer.layer = null;
  }

  /** The layer that will be used next, as far as can be told; at an end they come back. */
  #next(layer: GatheredLayer): GatheredLayer | null {
    const ahead = this.#layers[layer.index + this.#direction];
    return ahead === undefined ? (this.#layers[layer.index - this.#direction] ?? null) : ahead;
  }

  #begin(layer: GatheredLayer | null): void {
    if (layer === null || this.#bufferOf(layer).layer === layer) return;
    this.#counts.ahead++;
    this.#gather(layer);
  }

  #gather(layer: GatheredLayer): void {
    const buffer = this.#bufferOf(layer);
    const { address } = this.#blockOf(buffer);
    // A gather that nobody waited for, and that this one overwrites.
    this.#join(buffer);
    buffer.layer = null;
    const communicator = this.#communicator;
    buffer.done = communicator.launch(() => {
      for (const { local, shard, offset } of layer.parts) {
        communicator.allGather(layer.local.address + local, address + offset, shard, 'bytes');
      }
    });
    buffer.layer = layer;
  }

  #join(buffer: Buffer): void {
    if (buffer.done === null) return;
    const { done } = buffer;
    buffer.done = null;
    if (this.#communicator.isOpen) this.#communicator.join(done);
  }

  #bufferOf({ index }: GatheredLayer): Buffer {
    return this.#buffers[index % this.#buffers.length]!;
  }

  #blockOf(buffer: Buffer): Block {
    buffer.block ??= this.#host.memoryPool.allocate(this.#bytes, 'gathered layers');
    return buffer.block;
  }

  #giveUp(): void {
    for (const buffer of this.#buffers) {
      if (buffer.block) this.#host.memoryPool.release(buffer.block);
      buffer.block = null;
    }
  }
}

/** A layer of which this rank holds a part. */
export class GatheredLayer implements Gathered {
  readonly #buffers: Buffers;
  /** Counts the blocks of its matrices. */
  readonly #whole: Block;

  constructor(
    buffers: Buffers,
    readonly index: number,
    /** Memory of this rank's parts. */
    readonly local: Block,
    readonly parts: readonly Part[],
  ) {
    this.#buffers = buffers;
    const free = () => buffers.remove(this);
    this.#whole = { address: 0, bytes: 0, by: 'gathered layers', users: 0, arena: { free } };
  }

  ensure(): void {
    this.#buffers.ensure(this);
  }

  /** The memory of one of its matrices, which has one user; the layer ends with the last. */
  block(part: number): Block {
    const { offset, bytes } = this.parts[part]!;
    this.#whole.users++;
    const buffers = this.#buffers;
    const layer = this;
    return {
      get address() {
        return buffers.addressOf(layer) + offset;
      },
      bytes,
      by: 'gathered layers',
      users: 1,
      whole: this.#whole,
    };
  }
}
