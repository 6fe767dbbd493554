/** @file A frozen tensor of bytes as a file has them, once they are on the device: matrices become what the backend's weights are, vectors float. */
import type * as tf from '@tensorflow/tfjs';
import type { CollectiveHost } from '../collectives/host.js';
import { BYTES, C_TYPE } from '../storage.js';
import { declareVariants, FLOATS } from './variants.js';

/** Element types of files. */
export type FileType = 'BF16' | 'F16' | 'F32';

export const storedTypeOf = ({ weightType }: Pick<CollectiveHost, 'weightType'>, shape: readonly number[]) =>
  shape.length >= 2 ? weightType : 'f32';

/** `CudaBackend.frozenBytes`. */
export function storedBytes(
  backend: Pick<CollectiveHost, 'weightType'>,
  type: FileType | 'U8',
  shape: readonly number[],
): number {
  const size = shape.reduce((product, n) => product * n, 1);
  return (type === 'U8' ? 1 : BYTES[storedTypeOf(backend, shape)]) * size;
}

/**
 * A frozen tensor of bytes that lie on the device as a file has them; owned by the caller, who keeps the bytes.
 * @param from their address.
 */
export function storedOnDevice(
  backend: CollectiveHost,
  from: number,
  stored: FileType,
  shape: readonly number[],
): tf.TensorInfo {
  const physical = storedTypeOf(backend, shape);
  const to = backend.output(shape, 'float32', physical);
  const size = shape.reduce((product, n) => product * n, 1);
  const as = stored === 'BF16' ? 'bf16' : 'f32';
  try {
    if (stored !== 'F16' && as === physical) backend.copy(from, backend.address(to), size * BYTES[physical]);
    else {
      const kernel =
        stored === 'F16'
          ? backend.kernel('from-half', 'from_half', 'ppl', { TO: C_TYPE[physical] })
          : backend.kernel('cast', 'cast_elements', 'ppl', { FROM: C_TYPE[as], TO: C_TYPE[physical] });
      backend.launch(kernel, [Math.min(8192, Math.ceil(size / 1024))], [256], [from, backend.address(to), size]);
    }
    return to;
  } catch (error) {
    backend.release(to);
    throw error;
  }
}

declareVariants(
  'from-half',
  FLOATS.map((TO) => ({ TO })),
);
