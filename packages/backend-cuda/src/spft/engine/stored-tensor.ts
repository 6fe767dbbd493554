/**
 * @file A frozen tensor from the bytes of a file (`storedTensor` of sparse-ops): to the device as they are, converted there. Matrices become
 * what `CudaBackend.weightType` says, vectors float. And what takes a frozen tensor's place, in its type (`storedLike`).
 */
import type { StoredTensorAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { CudaFormError } from '../../errors.js';
import { storeAsE4m3 } from '../../forms/e4m3.js';
import { storedOnDevice, storedTypeOf } from '../../shared/stored-on-device.js';
import type { CudaKernels } from '../contract.js';

function storedTensor(backend: CudaBackend, { bytes, stored, shape }: StoredTensorAttributes): tf.TensorInfo {
  // From float16, which no kernel computes with, they are converted as they come.
  if (stored === 'F16') {
    return backend.scratch(bytes.byteLength, (from) => {
      backend.uploadTo(from, bytes);
      return storedOnDevice(backend, from, stored, shape);
    });
  }
  const uploaded = backend.upload(bytes, shape, 'float32', stored === 'BF16' ? 'bf16' : 'f32');
  try {
    return backend.as(uploaded, storedTypeOf(backend, shape));
  } finally {
    backend.release(uploaded);
  }
}

/** Forms of frozen matrices by name (forms/). */
const FORMS: Readonly<Record<string, typeof storeAsE4m3>> = { fp8: storeAsE4m3 };

/** Kernels of the contract. */
export const storedTensorKernels = {
  SpftStoredTensor: ({ backend, attributes }) => storedTensor(backend, attributes),
  // Of a form too: what takes a frozen weight's place is plain, as a form's steps would lose what an adapter adds.
  SpftStoredLike: ({ backend, inputs: { x, like } }) =>
    backend.as(x, backend.codebook(like) ? backend.weightType : backend.physical(like)),
  SpftStoreAs: ({ backend, inputs: { x }, attributes: { form, keepTransposed, outlierChannels } }) => {
    const store = FORMS[form];
    if (store) return store(backend, x, keepTransposed, outlierChannels);
    throw new CudaFormError(`cuda has no form of weights named '${form}'; it has ${Object.keys(FORMS).join(', ')}`);
  },
} satisfies CudaKernels;
