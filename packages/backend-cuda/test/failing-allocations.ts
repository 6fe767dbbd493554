/** @file A GPU that has no memory left for one allocation, whichever. */
import { CudaOutOfMemoryError } from '../src/index.js';
import { cuda } from './cuda.js';

/** Fails the `nth` allocation from now on as the GPU does when it has no memory left. @returns ends that, and says whether it came to so many. */
export function failAllocation(nth: number): () => boolean {
  const { memoryPool } = cuda();
  const { allocate } = memoryPool;
  let calls = 0;
  memoryPool.allocate = (bytes, by) => {
    if (++calls === nth) throw new CudaOutOfMemoryError(bytes, 0, 0, []);
    return allocate.call(memoryPool, bytes, by);
  };
  return () => {
    memoryPool.allocate = allocate;
    return calls >= nth;
  };
}
