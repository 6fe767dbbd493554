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

type Tensors = Readonly<Record<string, tf.TensorInfo>>;

/** Runs `run` with those of the inputs that are in a stored form (forms/) unpacked. */
function withPlainInputs<T>(backend: CudaBackend, inputs: Tensors, run: (inputs: Tensors) => T): T {
  const unpacked = Object.entries(inputs).flatMap(([name, input]) =>
    backend.codebook(input) ? [[name, backend.as(input, backend.weightType)] as const] : [],
  );
  if (unpacked.length === 0) return run(inputs);
  const plain = Array.isArray(inputs) ? [...inputs] : { ...inputs };
  const result = run(Object.assign(plain, Object.fromEntries(unpacked)) as Tensors);
  for (const [, info] of unpacked) backend.release(info);
  return result;
}

/**
 * Registers `run` as the kernel `kernelName`. Its outputs belong to tfjs; what else it makes it releases, unless it throws: then that is done for it. It
 * is given plain tensors alone, unless it `readsForms`: what knows nothing of stored forms works with frozen matrices in any of them.
 */
export function registerCudaKernel<Inputs extends string = string, Attributes = Record<string, unknown>>(
  kernelName: string,
  run: (call: KernelCall<Inputs, Attributes>) => tf.TensorInfo | tf.TensorInfo[],
  { readsForms = false }: { readonly readsForms?: boolean } = {},
): void {
  tf.registerKernel({
    kernelName,
    backendName: BACKEND_NAME,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const cuda = backend as CudaBackend;
      const call = (inputs: Tensors) =>
        run({ backend: cuda, inputs: inputs as Record<Inputs, tf.TensorInfo>, attributes: attrs as Attributes });
      return cuda.within(kernelName, () =>
        readsForms || cuda.data.packed === 0 ? call(inputs as Tensors) : withPlainInputs(cuda, inputs as Tensors, call),
      );
    },
  });
}
