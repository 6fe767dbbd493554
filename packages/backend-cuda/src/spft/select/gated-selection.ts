/** @file The channels of a gated MLP that predictors of the mean rows of sequences score highest, in one launch; what that does not take, in four. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { LANE } from '../project/layers.js';
import { sequenceMeans } from '../tokens/sequence-means.js';
import { gatedScores } from './gated-scores.js';
import { topK } from './top-k-selection.js';

/** As in the kernel; scores lie in shared memory. */
const [RANKS, COLUMNS, MOST_SEQUENCES, MOST_CHANNELS] = [8, 64, 64, 8192];
/** Scores that a thread chooses among, by which the kernel is compiled. */
const HELD = [2, MOST_CHANNELS / 1024] as const;

/** Address of a counter of blocks, zero between launches, which is kept with the predictor: launches follow one another. */
const ticketOf = (backend: CudaBackend, predictor: tf.TensorInfo): number =>
  backend.derived(predictor, 'ticket', 4, (address) => {
    backend.device.call('cuMemsetD8Async', address, 0, 4, backend.device.stream);
  });

const gatedSelection: CudaKernel<'SpftGatedSelection'> = ({
  backend,
  inputs: { x, gateA, gateB, upA, upB },
  attributes: { kept, ...layout },
}) => {
  const { rowOfToken, sequenceStarts } = layout;
  const [inputs, sequences] = [x.shape[1]!, sequenceStarts.length - 1];
  const [r, n] = gateB.shape as [number, number];
  // Only what masks by it waits for it.
  const lane = x.shape[0]! * inputs * n < backend.besideBelow ? LANE.choice : 0;
  return backend.beside(lane, () =>
    inScope(backend, (scope) => {
      if (r > RANKS || n > MOST_CHANNELS || sequences > MOST_SEQUENCES || sequences === 0 || inputs === 0) {
        const means = scope.temporary(sequenceMeans(backend, x, layout));
        return topK(backend, scope.temporary(gatedScores(backend, means, gateA, gateB, upA, upB)), kept);
      }
      const both = (one: tf.TensorInfo, other: tf.TensorInfo) => {
        const type = typeOf(backend, one, other);
        return [C_TYPE[type], ...[one, other].map((info) => scope.address(info, type))] as const;
      };
      const X = typeOf(backend, x);
      const from = scope.address(x, X);
      const [A, ...ofA] = both(gateA, upA);
      const [B, ...ofB] = both(gateB, upB);
      const across = Math.ceil(inputs / COLUMNS);
      const parts = scope.temporary(backend.output([sequences, across, 2, RANKS], 'float32', 'f32'));
      const indices = scope.output([kept], 'int32');
      const kernel = backend.kernel('gated-selection', 'gated_selection', `${'p'.repeat(10)}iiiii`, {
        ...{ X: C_TYPE[X], TYPE_A: A, TYPE_B: B, PER_THREAD: HELD.find((count) => n <= 1024 * count)! },
      });
      const lists = [backend.constant(rowOfToken), backend.constant(sequenceStarts)];
      const ours = [parts, indices].map((info) => backend.address(info));
      const addresses = [from, ...lists, ...ofA, ...ofB, ours[0]!, ticketOf(backend, gateA), ours[1]!];
      const numbers = [inputs, r, n, kept, aligned(inputs, from)];
      backend.launch(kernel, [across, sequences], [8, 128], [...addresses, ...numbers], 4 * n);
      return indices;
    }),
  );
};

declareVariants('gated-selection', combinations({ X: FLOATS, TYPE_A: FLOATS, TYPE_B: FLOATS, PER_THREAD: HELD }));

/** Kernels of the contract. */
export const gatedSelectionKernels = { SpftGatedSelection: gatedSelection } satisfies CudaKernels;
