/** @file GatherV2, GatherNd and OneHot (`cuda/gather.cu`). An index that is out of range gives zeros: the device cannot throw. */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { WORDS } from '../shared/copying.js';
import { blocksFor, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { six } from '../shared/shapes.js';
import { combinations, declareVariants } from '../shared/variants.js';
import { BYTES } from '../storage.js';

interface Slices {
  /** Address of [batch, outer, choices, slice] elements. */
  readonly from: number;
  /** Of int32 [batch, count]. */
  readonly indices: number;
  readonly to: number;
  /** Elements of the result. */
  readonly size: number;
  readonly outer: number;
  readonly count: number;
  readonly choices: number;
  readonly slice: number;
  /** Of an element. */
  readonly bytes: number;
}

/** Slices of a tensor by index, in words as wide as they allow. */
function gatherSlices(backend: CudaBackend, slices: Slices): void {
  const { from, indices, to, size, outer, count, choices, slice, bytes } = slices;
  if (size === 0) return;
  const word = [16, 8, 4, 2, 1].find(
    (width) => width === bytes || (width > bytes && [slice * bytes, from, to].every((value) => value % width === 0)),
  )!;
  const scale = word / bytes;
  const wide = size >= 2 ** 31;
  const kernel = backend.kernel('gather', 'gather', wide ? 'ppplllll' : 'pppliili', {
    WORD: WORDS[word]!,
    ...(wide ? { WIDE: 1 } : {}),
  });
  const words = size / scale;
  backend.launch(
    kernel,
    [blocksFor(words)],
    [THREADS],
    [from, indices, to, words, outer, count, choices, slice / scale],
  );
}

registerCudaKernel<'x' | 'indices', { axis: number; batchDims: number }>(
  tf.GatherV2,
  ({ backend, inputs: { x, indices }, attributes }) => {
    const [axis] = tf.util.parseAxisParam(attributes.axis, x.shape) as [number];
    const { batchSize, outerSize, dimSize, sliceSize, outputShape } =
      tf.backend_util.segment_util.collectGatherOpShapeInfo(
        x as tf.Tensor,
        indices as tf.Tensor,
        axis,
        attributes.batchDims ?? 0,
      );
    const physical = backend.physical(x);
    const result = backend.output(outputShape, x.dtype, physical);
    gatherSlices(backend, {
      from: backend.address(x),
      indices: backend.address(indices),
      to: backend.address(result),
      size: tf.util.sizeFromShape(outputShape),
      outer: outerSize,
      count: tf.util.sizeFromShape(indices.shape) / batchSize,
      choices: dimSize,
      slice: sliceSize,
      bytes: BYTES[physical],
    });
    return result;
  },
);

/**
 * Runs `use` with the address of `count` int32 indices into a tensor whose first dimensions are `sizes`: one for every vector of `indices`
 * [count, sizes.length]; -1 where it is out of range.
 */
export function withFlatIndices(
  backend: CudaBackend,
  indices: tf.TensorInfo,
  sizes: readonly number[],
  count: number,
  use: (flat: number) => void,
): void {
  if (sizes.length > 6) throw new RangeError(`indices of ${sizes.length} dimensions; backend cuda has up to six`);
  const strides = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((product, size) => product * size, 1));
  backend.scratch(4 * count, (flat) => {
    const kernel = backend.kernel('gather', 'flatten_indices', `ppli${'i'.repeat(12)}`, { WORD: WORDS[4]! });
    const dimensions = [...six(sizes, 1), ...six(strides, 0)];
    const args = [backend.address(indices), flat, count, sizes.length, ...dimensions];
    backend.launch(kernel, [blocksFor(count)], [THREADS], args);
    use(flat);
  });
}

registerCudaKernel<'params' | 'indices'>(tf.GatherNd, ({ backend, inputs: { params, indices } }) => {
  const rank = indices.shape.at(-1)!;
  const [shape, count, slice] = tf.backend_util.prepareAndValidate(params as tf.Tensor, indices as tf.Tensor);
  const physical = backend.physical(params);
  const result = backend.output(shape, params.dtype, physical);
  const sizes = params.shape.slice(0, rank);
  withFlatIndices(backend, indices, sizes, count, (flat) =>
    gatherSlices(backend, {
      from: backend.address(params),
      indices: flat,
      to: backend.address(result),
      size: tf.util.sizeFromShape(shape),
      outer: 1,
      count,
      choices: tf.util.sizeFromShape(sizes),
      slice,
      bytes: BYTES[physical],
    }),
  );
  return result;
});

interface OneHotAttributes {
  readonly depth: number;
  readonly onValue: number;
  readonly offValue: number;
  readonly dtype?: tf.DataType;
}

registerCudaKernel<'indices', OneHotAttributes>(tf.OneHot, ({ backend, inputs: { indices }, attributes }) => {
  const { depth, onValue, offValue, dtype = 'int32' } = attributes;
  const result = backend.output([...indices.shape, depth], dtype);
  const size = tf.util.sizeFromShape(result.shape);
  if (size === 0) return result;
  const physical = backend.physical(result);
  const float = physical === 'f32';
  const parameters = float ? 'ppliff' : 'ppliii';
  const kernel = backend.kernel('gather', 'one_hot', parameters, {
    WORD: float ? 'float' : physical === 'i32' ? 'int' : 'u8',
  });
  const places = [backend.address(indices), backend.address(result)];
  backend.launch(kernel, [blocksFor(size)], [THREADS], [...places, size, depth, onValue, offValue]);
  return result;
});

declareVariants('gather', [
  ...Object.values(WORDS).map((WORD) => ({ WORD })),
  ...combinations({ WORD: Object.values(WORDS), WIDE: [1] }),
]);
