/// <reference types="@webgpu/types" />
/** @file The arrays that differ from step to step: the recorder's own, always the same, and a buffer for each. */
import type { StepInputs } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';

/** What steps' inputs need of the backend. */
export interface InputsHost {
  readonly device: GPUDevice;
  bufferOf(tensor: tf.TensorInfo): GPUBuffer;
  flush(): void;
}

export class Inputs {
  /** The recorder's own, always the same. */
  readonly arrays: StepInputs;
  /** Where each lies on the device. */
  readonly places = new Map<unknown, GPUBuffer>();
  /** Values of this step that are on the device. */
  #onDevice: Readonly<Record<string, tf.Tensor>> = {};

  constructor(device: GPUDevice, given: StepInputs) {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    this.arrays = Object.fromEntries(
      Object.entries(given).map(([name, array]) => {
        const own = array.slice();
        this.places.set(own, device.createBuffer({ label: name, size: Math.max(4, own.byteLength), usage }));
        return [name, own];
      }),
    );
  }

  /** Takes over values. @throws RangeError where they are not of the same names and lengths as those before. */
  set(given: StepInputs, onDevice: Readonly<Record<string, tf.Tensor>>): void {
    for (const [name, tensor] of Object.entries(onDevice)) {
      const own = this.arrays[name];
      const dtype = own instanceof Int32Array ? 'int32' : 'float32';
      if (tensor.dtype !== dtype || tensor.size !== own?.length)
        throw new RangeError(
          `a recorded step's input ${name} is ${own ? `${dtype} of ${own.length}` : 'not one of it'}, and its tensor ${tensor.dtype} of ${tensor.size}`,
        );
    }
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
    this.#onDevice = onDevice;
    for (const name of names) this.arrays[name]!.set(given[name]!);
  }

  /** To the device, behind all that was encoded before. */
  upload(host: InputsHost): void {
    const { queue } = host.device;
    const given = Object.entries(this.#onDevice).flatMap(([name, tensor]) =>
      tensor.size > 0 ? [{ from: host.bufferOf(tensor), own: this.arrays[name]! }] : [],
    );
    // What waits was told other inputs, or uploads these tensors.
    host.flush();
    for (const [own, buffer] of this.places) {
      const { buffer: bytes, byteOffset, byteLength } = own as Int32Array<ArrayBuffer>;
      if (byteLength > 0) queue.writeBuffer(buffer, 0, bytes, byteOffset, byteLength);
    }
    if (given.length === 0) return;
    const encoder = host.device.createCommandEncoder();
    for (const { from, own } of given) encoder.copyBufferToBuffer(from, 0, this.places.get(own)!, 0, own.byteLength);
    queue.submit([encoder.finish()]);
  }

  end(): void {
    for (const buffer of this.places.values()) buffer.destroy();
  }
}
