/**
 * @file Tensors summed by a collective of the host: read, summed as one array, and made anew. What backends use whose values lie in the host's memory
 * anyway (`blas`, `wasm`, `cpu`); the plain way beside that of a device.
 */
import * as tf from '@tensorflow/tfjs';
import type { Collective, TensorCollective, TensorHandle } from './collective.js';

export class HostTensors implements TensorCollective {
  readonly records = false;
  readonly #host: Collective;

  /** @param host stays the caller's. */
  constructor(host: Collective) {
    this.#host = host;
  }

  get name() {
    return this.#host.name;
  }

  get rank() {
    return this.#host.rank;
  }

  get size() {
    return this.#host.size;
  }

  allReduce(tensors: readonly tf.Tensor[]): TensorHandle {
    const shapes = tensors.map(({ shape }) => shape);
    let flat: Float32Array;
    try {
      flat = new Float32Array(tensors.reduce((sum, { size }) => sum + size, 0));
      let place = 0;
      for (const tensor of tensors) {
        flat.set(tensor.dataSync() as Float32Array, place);
        place += tensor.size;
      }
    } finally {
      tf.dispose([...tensors]);
    }
    const handle = this.#host.allReduce(flat);
    const made = () => {
      let place = 0;
      return shapes.map((shape) => {
        const from = place;
        place += tf.util.sizeFromShape(shape);
        return tf.tensor(flat.slice(from, place), shape, 'float32');
      });
    };
    return {
      wait() {
        handle.wait();
        return made();
      },
      done: () => handle.done.then(made),
    };
  }

  abort(error: Error): void {
    this.#host.abort(error);
  }

  async close(): Promise<void> {}
}
