/** @file What a model's weights will take on `cuda`, said before they are loaded, is what its memory counts when they are there. */
import { PLAIN, weightMemorySuite } from '../../models/test/weight-memory-suite.js';
import { cuda, describeCuda } from '../test/cuda.js';

describeCuda('weightMemory() on cuda', () => {
  // Matrices in 4 bits lie there in a form of its own, which is larger by its scales' layout.
  weightMemorySuite(
    () => cuda().memoryPool.bytes,
    () => {},
    PLAIN,
  );
});
