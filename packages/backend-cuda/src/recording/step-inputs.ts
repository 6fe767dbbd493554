/** @file The arrays that differ from step to step: one piece of memory here and one on the device, in which each has its place. */

import type { Block } from '../device/memory.js';
import type { RecorderHost } from './host.js';

export type StepInputs = Readonly<Record<string, Int32Array | Float32Array>>;

/** Places begin at multiples of it, as tensors do. */
const ALIGNMENT = 512;

export class Inputs {
  /** The recorder's own, always the same. */
  readonly arrays: StepInputs;
  /** Where each lies on the device. */
  readonly places = new Map<ArrayBufferView, Block>();
  readonly #bytes: Uint8Array;
  readonly #whole: Block;

  constructor(backend: RecorderHost, given: StepInputs) {
    const entries = Object.entries(given);
    const room = (array: ArrayBufferView) => Math.max(1, Math.ceil(array.byteLength / ALIGNMENT)) * ALIGNMENT;
    this.#bytes = new Uint8Array(entries.reduce((sum, [, array]) => sum + room(array), 0));
    this.#whole = backend.memoryPool.allocate(this.#bytes.length, 'inputs of steps');
    let at = 0;
    this.arrays = Object.fromEntries(
      entries.map(([name, array]) => {
        const own =
          array instanceof Int32Array
            ? new Int32Array(this.#bytes.buffer, at, array.length)
            : new Float32Array(this.#bytes.buffer, at, array.length);
        this.places.set(own, backend.memoryPool.part(this.#whole, at, array.byteLength));
        at += room(array);
        return [name, own];
      }),
    );
  }

  /** Takes over values. @throws RangeError where they are not of the same names and lengths as those before. */
  set(given: StepInputs): void {
    const names = Object.keys(this.arrays);
    for (const name of names) {
      const [own, values] = [this.arrays[name]!, given[name]];
      if (values?.constructor !== own.constructor || values.length !== own.length) {
        throw new RangeError(
          `a recorded step's input ${name} was ${own.constructor.name} of ${own.length}, and is ${values?.constructor.name} of ${values?.length}`,
        );
      }
    }
    if (Object.keys(given).length !== names.length) {
      throw new RangeError(
        `a recorded step has the inputs ${names.join(', ')}, and got ${Object.keys(given).join(', ')}`,
      );
    }
    for (const name of names) this.arrays[name]!.set(given[name]!);
  }

  upload(backend: RecorderHost): void {
    backend.uploadInputs(this.#whole.address, this.#bytes);
  }

  end(backend: RecorderHost): void {
    for (const part of this.places.values()) backend.memoryPool.release(part);
    backend.memoryPool.release(this.#whole);
  }
}
