/**
 * @file One step of AdamW or SGD over all tensors in one launch, and their norm in two: a table of their addresses goes to the GPU.
 *
 * A variable that alone uses its memory is updated where it is, and the output is the variable's tensor once more; anything else (a copy that
 * somebody kept) gets new memory. What `halfOf` keeps of a parameter is updated with it.
 */
import type { AdamwAttributes, SgdAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { Kernel } from '../../device/modules.js';
import { HALF, inScope } from '../../shared/tensors.js';
import { declareVariants } from '../../shared/variants.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** Numbers of a row of optimizer.cu's table. */
const FIELDS = 9;
/** Numbers of a piece (optimizer.cu, optimizer-8bit.cu). */
const PIECE = 8192;

/** Names of many tensors of a role: `p0`, `p1`, …, the same in each step. */
const named = new Map<string, string[]>();

/** At least `count` of them. */
export function namesOf(role: string, count: number): readonly string[] {
  let names = named.get(role);
  if (!names) {
    names = [];
    named.set(role, names);
  }
  while (names.length < count) names.push(`${role}${names.length}`);
  return names;
}

/**
 * Runs `kernel` with a block for each piece of each tensor. `rest` are its parameters after the two tables.
 * @param rows of all tensors, one after the other: as many numbers each, addresses and the size last. Of the optimizer p, g, m, v, new p, new m, new v, half.
 * @param fields numbers of a row.
 */
export function overPieces(
  backend: CudaBackend,
  rows: readonly number[],
  fields: number,
  run: (tables: [number, number], pieces: number) => void,
) {
  let pieces = 0;
  for (let n = fields - 1; n < rows.length; n += fields) pieces += Math.ceil(rows[n]! / PIECE);
  const words = new Uint32Array(rows.length * 2 + pieces * 2);
  let at = 0;
  for (let n = 0; n < rows.length; n++) {
    const value = rows[n]!;
    words[at++] = value >>> 0;
    words[at++] = value / 2 ** 32;
  }
  for (let n = fields - 1, tensor = 0; n < rows.length; n += fields, tensor++) {
    for (let index = 0; index * PIECE < rows[n]!; index++) {
      words[at++] = tensor;
      words[at++] = index;
    }
  }
  backend.scratch(words.byteLength, (address) => {
    backend.uploadTo(address, words);
    run([address, address + rows.length * 8], pieces);
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
    const rows: number[] = [];
    for (const info of tensors) {
      const g = scope.address(info, 'f32');
      rows.push(0, g, 0, 0, 0, 0, 0, 0, backend.data.get(info.dataId).elements);
    }
    overPieces(backend, rows, FIELDS, (tables, pieces) => {
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
    const roles = ['p', ...moments];
    const outputs: Info[][] = roles.map(() => []);
    const names = roles.map((role) => namesOf(role, count));
    const gradients = namesOf('g', count);
    const rows: number[] = [];
    // p, m and v before and after.
    const old = [0, 0, 0];
    const fresh = [0, 0, 0];
    for (let n = 0; n < count; n++) {
      for (let place = 0; place < roles.length; place++) {
        const info = inputs[names[place]![n]!]!;
        const next = scope.result(renewed(backend, info));
        outputs[place]!.push(next);
        const at = roles[place] === 'v' ? 2 : place;
        // Before a value from the host is on the device it has no address of its own.
        old[at] = scope.address(info, 'f32');
        fresh[at] = backend.address(next);
      }
      const p = inputs[names[0]![n]!]!;
      const g = scope.address(inputs[gradients[n]!]!, 'f32');
      const half = old[0] === fresh[0] ? backend.derivedAddress(p, HALF) : 0;
      rows.push(old[0]!, g, old[1]!, old[2]!, fresh[0]!, fresh[1]!, fresh[2]!, half);
      rows.push(backend.data.get(p.dataId).elements);
    }
    const { gradientScale } = inputs;
    const known = gradientScale ? backend.hostScalar(gradientScale) : 1;
    const scale = gradientScale && known === null ? scope.address(gradientScale, 'f32') : 0;
    overPieces(backend, rows, FIELDS, (tables, pieces) => {
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
  SpftGlobalNorm: ({ backend, inputs, attributes: { count } }) => {
    const names = namesOf('t', count);
    return globalNorm(
      backend,
      Array.from({ length: count }, (_, n) => (inputs as Inputs)[names[n]!]!),
    );
  },
  SpftAdamw: ({ backend, inputs, attributes }) => adamw(backend, inputs, attributes),
  SpftSgd: ({ backend, inputs, attributes }) => sgd(backend, inputs, attributes),
} satisfies CudaKernels;
