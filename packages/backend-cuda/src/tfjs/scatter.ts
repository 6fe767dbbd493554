/**
 * @file ScatterNd, TensorScatterUpdate, SparseToDense and UnsortedSegmentSum (`cuda/scatter.cu`): deterministic, as the slices of one place
 * are added in their order by one thread. Sums of bf16 are float.
 */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { declareVariants } from '../shared/variants.js';
import { BYTES, C_TYPE, physicalOf } from '../storage.js';
import { fillElements } from './constant.js';
import { withFlatIndices } from './gather.js';
import { paddedLength, sortRows } from './sort.js';

interface Scattering {
  readonly mode: 'Sum' | 'Last';
  /** Address of `count` int32 places. */
  readonly indices: number;
  readonly count: number;
  /** [count, slice], or one element for all. */
  readonly updates: tf.TensorInfo;
  readonly slice: number;
  /** Places that there are. */
  readonly places: number;
  /** [places, slice]; a place that no index names keeps what it has. */
  readonly result: tf.TensorInfo;
}

function scatter(backend: CudaBackend, scattering: Scattering): void {
  const { mode, indices, count, updates, slice, places, result } = scattering;
  if (count === 0 || slice === 0) return;
  const padded = paddedLength(count);
  const defines = { MODE: mode, FROM: C_TYPE[backend.physical(updates)], TO: C_TYPE[backend.physical(result)] };
  const step = tf.util.sizeFromShape(updates.shape) === 1 ? 0 : slice;
  backend.scratch(8 * padded, (keys) => {
    const make = backend.kernel('scatter', 'scatter_keys', 'pplll', defines);
    backend.launch(make, [blocksFor(padded)], [THREADS], [indices, keys, count, padded, places]);
    sortRows(backend, keys, 1, padded);
    const write = backend.kernel('scatter', 'scatter_slices', 'ppplll', defines);
    const addresses = [keys, backend.address(updates), backend.address(result)];
    backend.launch(write, [blocksFor(count * slice)], [THREADS], [...addresses, count, slice, step]);
  });
}

/** Scatters by index vectors into `result`, which has its initial values. */
function scatterVectors(
  backend: CudaBackend,
  mode: 'Sum' | 'Last',
  indices: tf.TensorInfo,
  updates: tf.TensorInfo,
  result: tf.TensorInfo,
): tf.TensorInfo {
  const { sliceRank, numUpdates, sliceSize } = tf.backend_util.calculateShapes(
    updates as tf.Tensor,
    indices as tf.Tensor,
    result.shape,
  );
  const sizes = result.shape.slice(0, sliceRank);
  withFlatIndices(backend, indices, sizes, numUpdates, (flat) =>
    scatter(backend, {
      mode,
      indices: flat,
      count: numUpdates,
      updates,
      slice: sliceSize,
      places: tf.util.sizeFromShape(sizes),
      result,
    }),
  );
  return result;
}

registerCudaKernel<'indices' | 'updates', { shape: number[] }>(
  tf.ScatterNd,
  ({ backend, inputs: { indices, updates }, attributes: { shape } }) => {
    const result = backend.output(shape, updates.dtype);
    backend.clear(result);
    return scatterVectors(backend, 'Sum', indices, updates, result);
  },
);

registerCudaKernel<'tensor' | 'indices' | 'updates'>(
  tf.TensorScatterUpdate,
  ({ backend, inputs: { tensor, indices, updates } }) => {
    const physical = backend.physical(tensor);
    const result = backend.output(tensor.shape, tensor.dtype, physical);
    const bytes = tf.util.sizeFromShape(tensor.shape) * BYTES[physical];
    backend.copy(backend.address(tensor), backend.address(result), bytes);
    const own = backend.as(updates, physical);
    scatterVectors(backend, 'Last', indices, own, result);
    backend.release(own);
    return result;
  },
);

registerCudaKernel<'sparseIndices' | 'sparseValues' | 'defaultValue', { outputShape: number[] }>(
  tf.SparseToDense,
  ({ backend, inputs: { sparseIndices, sparseValues, defaultValue }, attributes: { outputShape } }) => {
    const result = backend.output(outputShape, sparseValues.dtype);
    const scalar = backend.hostScalar(defaultValue) ?? Number(backend.readSync(defaultValue.dataId)[0]);
    fillElements(backend, result, scalar);
    return scatterVectors(backend, 'Last', sparseIndices, sparseValues, result);
  },
);

registerCudaKernel<'x' | 'segmentIds', { numSegments: number }>(
  tf.UnsortedSegmentSum,
  ({ backend, inputs: { x, segmentIds }, attributes: { numSegments } }) => {
    const shape = x.shape.slice(segmentIds.shape.length);
    const result = backend.output([numSegments, ...shape], x.dtype, physicalOf(x.dtype));
    backend.clear(result);
    scatter(backend, {
      mode: 'Sum',
      indices: backend.address(segmentIds),
      count: tf.util.sizeFromShape(segmentIds.shape),
      updates: x,
      slice: tf.util.sizeFromShape(shape),
      places: numSegments,
      result,
    });
    return result;
  },
);

declareVariants('scatter', [
  ...['Sum', 'Last'].flatMap((MODE) => [
    { MODE, FROM: 'float', TO: 'float' },
    { MODE, FROM: 'bf16', TO: 'float' },
    { MODE, FROM: 'int', TO: 'int' },
    { MODE, FROM: 'u8', TO: 'u8' },
  ]),
  { MODE: 'Last', FROM: 'bf16', TO: 'bf16' },
]);
