/**
 * @file Tensors summed over ranks, beside what the backend's stream does meanwhile: in place where nobody else has a tensor's memory, so that a step of
 * gradients takes no more room.
 */
import * as tf from '@tensorflow/tfjs';
import { BYTES } from '../storage.js';
import type { Communicator } from './communicator.js';
import type { CollectiveHost } from './host.js';

export interface SumOfTensors {
  /** The sums, owned by the caller; what is launched from now on sees them, and the host does not wait. Once. */
  wait(): tf.Tensor[];
}

/** Float32 tensors are taken over, also where it fails. @throws NcclError, TypeError for a tensor that is not float32. */
export function sumTensors(
  backend: CollectiveHost,
  communicator: Communicator,
  tensors: readonly tf.Tensor[],
): SumOfTensors {
  const sums: tf.Tensor[] = [];
  const left = [...tensors];
  try {
    while (left.length > 0) {
      const tensor = left[0]!;
      if (tensor.dtype !== 'float32') throw new TypeError(`sums over ranks are of float32, got ${tensor.dtype}`);
      // On the device before its memory is looked at.
      const from = backend.address(tensor);
      // One that came from the host as a number is read there.
      const ofHost = backend.hostScalar(tensor) !== null;
      if (backend.physical(tensor) === 'f32' && backend.isSoleUser(tensor) && !ofHost) {
        sums.push(tensor);
        left.shift();
        continue;
      }
      const copy = backend.output(tensor.shape);
      const sum = tf.engine().makeTensorFromTensorInfo(copy);
      // As long as what it takes the place of, where sums begin within a scope.
      sums.push(tensor.kept ? tf.keep(sum) : sum);
      if (backend.physical(tensor) === 'f32') backend.copy(from, backend.address(copy), BYTES.f32 * tensor.size);
      else backend.convert(tensor, backend.address(copy), 'f32');
      left.shift();
      tensor.dispose();
    }
    const done = communicator.launch(() => {
      for (const tensor of sums) {
        const at = backend.address(tensor);
        if (tensor.size > 0) communicator.allReduce(at, at, tensor.size, 'f32');
      }
    });
    return {
      wait() {
        communicator.join(done);
        return sums;
      },
    };
  } catch (error) {
    tf.dispose([...sums, ...left]);
    throw error;
  }
}
