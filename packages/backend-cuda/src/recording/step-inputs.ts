/** @file The arrays that differ from step to step: one piece of memory here and one on the device, in which each has its place. */

import type * as tf from '@tensorflow/tfjs';
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
  /** Values of this step that are on the device. */
  #onDevice: Readonly<Record<string, tf.Tensor>> = {};

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
  set(given: StepInputs, onDevice: Readonly<Record<string, tf.Tensor>> = {}): void {
    for (const [name, tensor] of Object.entries(onDevice)) {
      const own = this.arrays[name];
      const dtype = own instanceof Int32Array ? 'int32' : 'float32';
      if (tensor.dtype !== dtype || tensor.size !== own?.length)
        throw new RangeError(
          `a recorded step's input ${name} is ${own ? `${dtype} of ${own.length}` : 'not one of it'}, and its tensor ${tensor.dtype} of ${tensor.size}`,
        );
    }
    this.#onDevice = onDevice;
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
    for (const [name, tensor] of Object.entries(this.#onDevice)) {
      const own = this.arrays[name]!;
      const converted = backend.as(tensor, own instanceof Int32Array ? 'i32' : 'f32');
      backend.copy(backend.address(converted), this.places.get(own)!.address, own.byteLength);
      backend.release(converted);
    }
  }

  end(backend: RecorderHost): void {
    for (const part of this.places.values()) backend.memoryPool.release(part);
    backend.memoryPool.release(this.#whole);
  }
}
