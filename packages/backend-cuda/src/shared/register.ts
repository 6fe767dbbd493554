/** @file How a kernel of this backend is registered with tfjs. */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, type CudaBackend } from '../backend.js';

/** What a kernel is called with: tensors by name, and attributes. */
export interface KernelCall<Inputs extends string, Attributes> {
  readonly backend: CudaBackend;
  readonly inputs: Readonly<Record<Inputs, tf.TensorInfo>>;
  readonly attributes: Attributes;
}

/** A kernel as it is run, whatever it is called with. */
export type KernelRun = (call: KernelCall<never, never>) => tf.TensorInfo | tf.TensorInfo[];

/** Registers `run` as the kernel `kernelName`. Its outputs belong to tfjs; what else it makes it releases, unless it throws: then that is done for it. */
export function registerCudaKernel<Inputs extends string = string, Attributes = Record<string, unknown>>(
  kernelName: string,
  run: (call: KernelCall<Inputs, Attributes>) => tf.TensorInfo | tf.TensorInfo[],
): void {
  tf.registerKernel({
    kernelName,
    backendName: BACKEND_NAME,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const cuda = backend as CudaBackend;
      return cuda.within(kernelName, () =>
        run({ backend: cuda, inputs: inputs as Record<Inputs, tf.TensorInfo>, attributes: attrs as Attributes }),
      );
    },
  });
}
