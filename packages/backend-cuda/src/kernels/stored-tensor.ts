/**
 * @file A frozen tensor from the bytes of a file (`storedTensor` of sparse-ops): to the device as they are, converted there. Matrices become
 * what `CudaBackend.weightType` says, vectors float.
 */
import type { CudaBackend } from '../backend.js';
import { registerCudaKernel } from './register.js';

interface Attributes {
  readonly bytes: Uint8Array;
  readonly stored: 'BF16' | 'F32';
  readonly shape: readonly number[];
}

registerCudaKernel<never, Attributes>('SpftStoredTensor', ({ backend, attributes: { bytes, stored, shape } }) => {
  const uploaded = backend.upload(bytes, shape, 'float32', stored === 'BF16' ? 'bf16' : 'f32');
  const typed = backend.as(uploaded, typeOf(backend, shape));
  backend.release(uploaded);
  return typed;
});

const typeOf = (backend: CudaBackend, shape: readonly number[]) => (shape.length >= 2 ? backend.weightType : 'f32');
