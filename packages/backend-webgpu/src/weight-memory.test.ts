/** @file What a model's weights will take on `webgpu`, said before they are loaded, is what the pool of buffers counts when they are there. */
import { beforeAll } from 'vitest';
import { weightMemorySuite } from '../../models/test/weight-memory-suite.js';
import { describeWebGPU, useWebGPU, webgpu } from '../test/webgpu.js';

describeWebGPU('weightMemory() on webgpu', () => {
  beforeAll(useWebGPU);
  weightMemorySuite(
    () => {
      // What a matrix came by is given back with the commands.
      webgpu().flush();
      return webgpu().memory().numBytesInGPU;
    },
    ({ dataId }) => webgpu().uploadToGPU(dataId),
  );
});
