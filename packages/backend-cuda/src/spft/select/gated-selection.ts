/** @file The channels of a gated MLP that predictors of the mean rows of sequences score highest, in one launch; what that does not take, in four. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import { choiceLane, LANE } from '../project/layers.js';
import { sequenceMeans } from '../tokens/sequence-means.js';
import { gatedScores } from './gated-scores.js';
import { topK } from './top-k-selection.js';

/** As in the kernel; scores lie in shared memory. */
const [BLOCK, RANKS, MOST_SEQUENCES, MOST_CHANNELS] = [512, 8, 64, 8192];
/** Scores that a thread chooses among, by which the kernel is compiled. */
const HELD = [3, 6, MOST_CHANNELS / BLOCK] as const;
/** Numbers of x that a block may read where that takes no longer than what follows, and blocks that there are if sequences are few. */
const [NUMBERS, BLOCKS] = [2 ** 16, 16];
/** Columns of a block, at least so many: a line of memory. */
const COLUMNS = 64;

/** More bytes of shared memory than the kernel takes beside what it is launched with. */
const STATIC_BYTES = 2 ** 14;

const TICKETS = 4 * (1 + MOST_SEQUENCES);

/** Address of counters of blocks, zero between launches, which are kept with the predictor: launches follow one another. */
const ticketsOf = (backend: CudaBackend, predictor: tf.TensorInfo): number =>
  backend.derived(predictor, 'tickets', TICKETS, (address) => {
    backend.device.call('cuMemsetD8Async', address, 0, TICKETS, backend.device.stream);
  });

/** How many columns of means a block has: all, where sequences are short, so that it need not wait for others; a multiple of 8. */
function widthOf(inputs: number, tokens: number, sequences: number): number {
  const wanted = Math.max((tokens * inputs) / sequences / NUMBERS, BLOCKS / sequences, inputs / (8 * BLOCK));
  const across = Math.max(1, Math.min(Math.ceil(wanted), Math.ceil(inputs / COLUMNS)));
  return 8 * Math.ceil(inputs / across / 8);
}

const gatedSelection: CudaKernel<'SpftGatedSelection'> = ({
  backend,
  inputs: { x, gateA, gateB, upA, upB },
  attributes: { kept, ...layout },
}) => {
  const { rowOfToken, sequenceStarts } = layout;
  const [inputs, sequences] = [x.shape[1]!, sequenceStarts.length - 1];
  const [r, n] = gateB.shape as [number, number];
  // Only what masks or gathers by it waits for it; meanwhile dense rows are made.
  const lane = x.shape[0]! * inputs * n < backend.besideBelow ? LANE.choice : choiceLane(backend);
  return backend.beside(lane, () =>
    inScope(backend, (scope) => {
      if (r > RANKS || n > MOST_CHANNELS || sequences > MOST_SEQUENCES || sequences === 0 || inputs === 0) {
        const means = scope.temporary(sequenceMeans(backend, x, layout));
        return topK(backend, scope.temporary(gatedScores(backend, means, gateA, gateB, upA, upB)), kept);
      }
      const both = (one: tf.TensorInfo, other: tf.TensorInfo) => {
        const type = typeOf(backend, one, other);
        return [type, ...[one, other].map((info) => scope.address(info, type))] as const;
      };
      const X = typeOf(backend, x);
      const from = scope.address(x, X);
      const [A, ...ofA] = both(gateA, upA);
      const [B, ...ofB] = both(gateB, upB);
      const width = widthOf(inputs, rowOfToken.length, sequences);
      const across = Math.ceil(inputs / width);
      const parts = scope.temporary(backend.output([sequences, across, 2, RANKS], 'float32', 'f32'));
      const squares = scope.temporary(backend.output([sequences, n], 'float32', 'f32'));
      const indices = scope.output([kept], 'int32');
      const kernel = backend.kernel('gated-selection', 'gated_selection', `${'p'.repeat(11)}${'i'.repeat(8)}`, {
        ...{ X: C_TYPE[X], TYPE_A: C_TYPE[A], TYPE_B: C_TYPE[B] },
        PER_THREAD: HELD.find((count) => n <= BLOCK * count)!,
      });
      const lists = [backend.constant(rowOfToken), backend.constant(sequenceStarts)];
      const ours = [backend.address(parts), backend.address(squares), ticketsOf(backend, gateA)];
      const addresses = [from, ...lists, ...ofA, ...ofB, ...ours, backend.address(indices)];
      // Predictors are copied to shared memory while means are made, where there is room for them.
      const bytes = [inputs * r * BYTES[A], n * r * BYTES[B]] as const;
      const tables = 4 * Math.ceil(Math.max(8 * BLOCK + width, n) / 4);
      const withTables = 4 * tables + 2 * (bytes[0] + bytes[1]);
      const copied =
        across === 1 &&
        withTables + STATIC_BYTES <= backend.device.info.sharedBytes &&
        [...bytes, ...ofA, ...ofB].every((number) => number % 16 === 0);
      const shared = copied ? withTables : 4 * tables;
      const numbers = [inputs, width, r, n, kept, aligned(inputs, from), aligned(r, ...ofA), copied ? tables : 0];
      backend.launch(kernel, [across, sequences], [BLOCK], [...addresses, ...numbers], shared);
      return indices;
    }),
  );
};

declareVariants('gated-selection', combinations({ X: FLOATS, TYPE_A: FLOATS, TYPE_B: FLOATS, PER_THREAD: HELD }));

/** Kernels of the contract. */
export const gatedSelectionKernels = { SpftGatedSelection: gatedSelection } satisfies CudaKernels;
