/**
 * @file One step of AdamW or SGD over all tensors in one launch, and their norm in two: a table of their addresses goes to the GPU.
 *
 * A variable that alone uses its memory is updated where it is, and the output is the variable's tensor once more; anything else (a copy that
 * somebody kept) gets new memory. What `halfOf` keeps of a parameter is updated with it.
 */
import type { AdamwAttributes, SgdAttributes } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Kernel } from '../../device/modules.js';
import { HALF, inScope } from '../../shared/tensors.js';
import { declareVariants } from '../../shared/variants.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Numbers of a piece (optimizer.cu, optimizer-8bit.cu). */
const PIECE = 8192;

interface Row {
  /** As many in each row; a size follows them in the table. Here p, g, m, v, new p, new m, new v, half. */
  readonly addresses: readonly number[];
  readonly size: number;
}

/** Runs `kernel` with a block for each piece of each tensor. `rest` are its parameters after the two tables. */
export function overPieces(
  backend: CudaBackend,
  rows: readonly Row[],
  run: (tables: [number, number], pieces: number) => void,
) {
  const pieces = rows.reduce((sum, { size }) => sum + Math.ceil(size / PIECE), 0);
  const fields = 1 + (rows[0]?.addresses.length ?? 0);
  const words = new Uint32Array(rows.length * fields * 2 + pieces * 2);
  let at = 0;
  for (const { addresses, size } of rows) {
    for (const value of [...addresses, size]) {
      words[at++] = value % 2 ** 32;
      words[at++] = Math.floor(value / 2 ** 32);
    }
  }
  rows.forEach(({ size }, tensor) => {
    for (let index = 0; index * PIECE < size; index++) {
      words[at++] = tensor;
      words[at++] = index;
    }
  });
  backend.scratch(words.byteLength, (address) => {
    backend.uploadTo(address, words);
    run([address, address + rows.length * fields * 8], pieces);
  });
}

/** Where the new value of `info` goes: its own memory, or new memory. Owned by the caller either way. */
export function renewed(backend: CudaBackend, info: Info, physical: 'f32' | 'i32' = 'f32'): Info {
  const inPlace =
    backend.physical(info) === physical && backend.isSoleUser(info) && backend.data.get(info.dataId).host === null;
  if (!inPlace) backend.device.recording?.refuse('a variable that it updates shares its memory with another tensor');
  return inPlace ? backend.share(info) : backend.output(info.shape, info.dtype, physical);
}

/** √(Σ of the squares of all numbers of all tensors): a scalar, owned by the caller. */
export function globalNorm(backend: CudaBackend, tensors: readonly Info[]): Info {
  return inScope(backend, (scope) => {
    const norm = scope.output([], 'float32', 'f32');
    const rows = tensors.map((info) => {
      const g = scope.address(info, 'f32');
      return { addresses: [0, g, 0, 0, 0, 0, 0, 0], size: tf.util.sizeFromShape(info.shape) };
    });
    overPieces(backend, rows, (tables, pieces) => {
      backend.scratch(4 * pieces, (parts) => {
        const some = backend.kernel('optimizer', 'norm_parts', 'ppp');
        backend.launch(some, [pieces], [256], [...tables, parts]);
        const all = backend.kernel('optimizer', 'norm_total', 'ppi');
        backend.launch(all, [1], [1024], [parts, backend.address(norm), pieces]);
      });
    });
    return norm;
  });
}

type Inputs = Readonly<Record<string, Info>>;

/**
 * Updates `p0`… with the gradients `g0`… and the `moments`.
 * @param moments roles of what is kept beside each parameter: m and v.
 * @param varying address of what varies from step to step, or 0 where `numbers` have it.
 * @returns new parameters, then new moments role by role; owned by the caller.
 */
function update(
  backend: CudaBackend,
  inputs: Inputs,
  count: number,
  moments: readonly ('m' | 'v')[],
  kernel: Kernel,
  varying: number,
  numbers: readonly number[],
): Info[] {
  return inScope(backend, (scope) => {
    const outputs: Info[][] = [[], ...moments.map(() => [])];
    const rows = Array.from({ length: count }, (_, n) => {
      const p = inputs[`p${n}`]!;
      const old: Record<string, number> = {};
      const fresh: Record<string, number> = {};
      (['p', ...moments] as const).forEach((role, place) => {
        const info = inputs[`${role}${n}`]!;
        const next = scope.result(renewed(backend, info));
        outputs[place]!.push(next);
        // Before a value from the host is on the device it has no address of its own.
        old[role] = scope.address(info, 'f32');
        fresh[role] = backend.address(next);
      });
      const g = scope.address(inputs[`g${n}`]!, 'f32');
      const half = old.p === fresh.p ? backend.derivedAddress(p, HALF) : 0;
      const { m = 0, v = 0 } = old;
      const addresses = [old.p!, g, m, v, fresh.p!, fresh.m ?? 0, fresh.v ?? 0, half];
      return { addresses, size: tf.util.sizeFromShape(p.shape) };
    });
    const { gradientScale } = inputs;
    const known = gradientScale ? backend.hostScalar(gradientScale) : 1;
    const scale = gradientScale && known === null ? scope.address(gradientScale, 'f32') : 0;
    overPieces(backend, rows, (tables, pieces) => {
      backend.launch(kernel, [pieces], [256], [...tables, scale, varying, known ?? 1, ...numbers]);
    });
    return outputs.flat();
  });
}

/** Where a recorded step finds `numbers`; 0 outside of one. */
export const recordedAt = (backend: CudaBackend, numbers: Float32Array | undefined): number =>
  (numbers && backend.device.recording?.inputs.get(numbers)?.address) ?? 0;

/** The kernel of SpftAdamw (sparse-ops, optimizer-update.ts). */
export function adamw(backend: CudaBackend, inputs: Inputs, attributes: AdamwAttributes): Info[] {
  const { count, learningRate, weightDecay, beta1, beta2, epsilon, stepSize, rootCorrection } = attributes;
  const kernel = backend.kernel('optimizer', 'adamw', 'ppppfffffffff');
  const betas = [beta1, 1 - beta1, beta2, 1 - beta2];
  // In memory or by value: where they are in memory the values are of another step.
  const at = recordedAt(backend, attributes.numbers);
  const varying = at === 0 ? [1 - learningRate * weightDecay, stepSize, rootCorrection] : [0, 0, 0];
  const numbers = [varying[0]!, ...betas, epsilon, varying[1]!, varying[2]!];
  return update(backend, inputs, count, ['m', 'v'], kernel, at, numbers);
}

/** The kernel of SpftSgd. */
export function sgd(backend: CudaBackend, inputs: Inputs, attributes: SgdAttributes): Info[] {
  const { count, learningRate, weightDecay, momentum } = attributes;
  const kernel = backend.kernel('optimizer', 'sgd', 'ppppffff');
  const at = recordedAt(backend, attributes.numbers);
  const numbers = [at === 0 ? learningRate : 0, weightDecay, momentum];
  return update(backend, inputs, count, momentum === 0 ? [] : ['m'], kernel, at, numbers);
}

declareVariants('optimizer');

/** Kernels of the contract. */
export const optimizerUpdateKernels = {
  SpftGlobalNorm: ({ backend, inputs, attributes: { count } }) =>
    globalNorm(
      backend,
      Array.from({ length: count }, (_, n) => inputs[`t${n}`]!),
    ),
  SpftAdamw: ({ backend, inputs, attributes }) => adamw(backend, inputs, attributes),
  SpftSgd: ({ backend, inputs, attributes }) => sgd(backend, inputs, attributes),
} satisfies CudaKernels;
