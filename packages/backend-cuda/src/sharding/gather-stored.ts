/** @file A frozen matrix of which every rank read a part of the file's bytes: gathered on the device, so that no host ever has all of it. */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { Communicator } from '../collectives/communicator.js';
import type { CollectiveHost } from '../collectives/host.js';
import { type FileType, storedOnDevice } from '../shared/stored-on-device.js';
import { shardBytes } from './shard-bytes.js';

const BYTES = { BF16: 2, F16: 2, F32: 4 } as const;

/**
 * @param bytes this rank's, as `CudaWeightShards.range` says.
 * @returns as `storedTensor` of all bytes, owned by the caller.
 * @throws RangeError where it is not so many bytes.
 */
export function gatherStored(
  backend: CollectiveHost,
  communicator: Communicator,
  bytes: Uint8Array,
  stored: FileType,
  shape: readonly number[],
): TensorInfo {
  const { rank, size } = communicator;
  const all = shape.reduce((product, n) => product * n, BYTES[stored]);
  const each = shardBytes(all, size);
  const wanted = Math.min(all, (rank + 1) * each) - Math.min(all, rank * each);
  if (bytes.byteLength !== wanted) {
    throw new RangeError(
      `gather: rank ${rank} of ${size} has ${wanted} bytes of [${shape}] in ${stored}, got ${bytes.byteLength}`,
    );
  }
  return backend.scratch(each * size, (address) => {
    const own = address + rank * each;
    backend.uploadTo(own, bytes);
    if (wanted < each) backend.device.call('cuMemsetD8Async', own + wanted, 0, each - wanted, backend.device.stream);
    communicator.join(communicator.launch(() => communicator.allGather(own, address, each, 'bytes')));
    return storedOnDevice(backend, address, stored, shape);
  });
}
