/**
 * @file What is computed from a tensor alone and kept with it, under a name: a trained matrix in bf16, transposed codes, norms. It is made once, lives as
 * long as the tensor, and whoever writes into the tensor keeps it up to date.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { Block } from '../device/block.js';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import { CudaDisposedError } from '../errors.js';
import type { TensorData, TensorStore } from '../storage.js';

export class DerivedMemory {
  readonly #device: Device;
  readonly #memory: Memory;

  constructor(device: Device, memory: Memory) {
    this.#device = device;
    this.#memory = memory;
  }

  /** Its address, or 0 where nothing of that name was derived. */
  find(data: TensorData, name: string): number {
    const block = data.derived?.get(name);
    if (!block) return 0;
    this.#touch(data, name, block);
    return block.address;
  }

  /**
   * The same, made where there is none.
   * @param by the kernel that asks.
   * @throws CudaDisposedError where the tensor is gone.
   */
  of(data: TensorData, name: string, bytes: number, by: string, make: (address: number) => void): number {
    const known = this.find(data, name);
    if (known !== 0) return known;
    this.#refuse(data, name, by);
    const block = this.#memory.filled(bytes, by, make);
    data.derived ??= new Map();
    data.derived.set(name, block);
    return block.address;
  }

  /**
   * What is derived from several tensors, one after the other in one memory, of which each keeps its part.
   * @param store which knows them. @param sizes numbers of each part. @param size bytes of a number.
   * @returns the address of the first.
   */
  together(
    infos: readonly TensorInfo[],
    store: TensorStore,
    name: string,
    sizes: readonly number[],
    size: number,
    by: string,
    make: (info: TensorInfo, address: number) => void,
  ): number {
    const first = this.find(store.get(infos[0]!.dataId), name);
    // On the path of every branch, so without arrays.
    let next = first;
    let together = first !== 0;
    for (let n = 0; together && n < infos.length; n++) {
      together = this.find(store.get(infos[n]!.dataId), name) === next;
      next += sizes[n]! * size;
    }
    if (together) return first;
    const places = sizes.map((_, n) => sizes.slice(0, n).reduce((sum, count) => sum + count * size, 0));
    const total = sizes.reduce((sum, count) => sum + count * size, 0);
    for (const { dataId } of infos) this.#refuse(store.get(dataId), name, by);
    const whole = this.#memory.filled(total, by, (address) => {
      infos.forEach((info, n) => {
        make(info, address + places[n]!);
      });
    });
    infos.forEach(({ dataId }, n) => {
      const data = store.get(dataId);
      const before = data.derived?.get(name);
      if (before) this.#memory.release(before);
      data.derived ??= new Map();
      data.derived.set(name, this.#memory.part(whole, places[n]!, sizes[n]! * size));
    });
    this.#memory.release(whole);
    return whole.address;
  }

  /** Gives back all of a tensor's, which is gone. */
  release(data: TensorData): void {
    if (data.derived) for (const block of data.derived.values()) this.#memory.release(block);
    data.derived = null;
  }

  #touch(data: TensorData, name: string, block: Block): void {
    const { recording } = this.#device;
    if (recording?.capturing && !block.arena) recording.derived.push({ data, name, block });
  }

  /** A graph's memory is used again by the next: what is kept with a tensor that lives longer cannot lie there. */
  #refuse(data: TensorData, name: string, by: string): void {
    if (!data.alive) throw new CudaDisposedError(by, [data.elements], data.dtype);
    const { recording } = this.#device;
    // Of what the step itself makes it is so each time.
    if (recording && data.block && !data.block.arena && !recording.took(data.block))
      recording.refuse(`${name} was derived from a tensor for the first time`);
  }
}
