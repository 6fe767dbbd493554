/**
 * @file Before anything is timed: two layers at the widths of Llama-3-8B in bf16, by the fast kernels, against the same weights in float and
 * every op by its composition. Sequences of odd lengths.
 */

import { registerEstimator, type SparsityEstimator } from '@spft/estimator';
import type { LlamaConfig } from '@spft/models';
import type { ChannelSelection } from '@spft/sparse-ops';
import { withoutKernels } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import { LLAMA3_8B, randomLlama, rowBatch } from './llama.js';
import { attach } from './method.js';
import type { Row } from './rows.js';

/**
 * Relative distance ‖a − b‖ / ‖b‖ allowed in bf16: of the loss, of all gradients together, and of the worst of them alone (the small ones of k,
 * where attention's rounding cancels least).
 */
const ALLOWED = { loss: 2e-2, all: 3e-2, worst: 6e-2 };
/** The same where frozen weights and what they are multiplied by are rounded to four significant bits: on an H200 0.24 together, 0.38 the worst. */
const ALLOWED_FP8 = { loss: 3e-2, all: 0.3, worst: 0.5 };

interface Found {
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Channels by layer and part, with how many there are in all. */
export type Selections = Map<string, { readonly indices: Int32Array; readonly total: number }>;

/** Chooses what was chosen before: of channels of nearly the same score bf16 takes others than float does. */
function replayed(mode: string, chosen: Selections): SparsityEstimator {
  const select = (layer: number, part: string): ChannelSelection | null => {
    const { indices, total } = chosen.get(`${layer} ${part}`) ?? {};
    return indices ? { indices: tf.tensor1d(indices, 'int32'), kept: indices.length, total: total! } : null;
  };
  return {
    ...{ mode, needs: 'input', applies: 'gather' },
    selectMlp: ({ layer }) => select(layer, 'mlp'),
    selectAttention: ({ layer }) => ({
      ...{ q: select(layer, 'q'), k: select(layer, 'k'), v: select(layer, 'v'), o: select(layer, 'o') },
    }),
    dispose() {},
  };
}

/** @param chosen is written with the channels that bf16 chooses; float takes the same. */
async function gradientsOf(
  physical: 'bf16' | 'f32',
  chosen: Selections,
  row: Pick<Row, 'dora' | 'sparsity' | 'basePrecision' | 'checkpointing'>,
  configs: string,
  shape: LlamaConfig,
): Promise<Found> {
  const config = { ...shape, numHiddenLayers: 2, vocabSize: Math.min(4096, shape.vocabSize) };
  const { basePrecision } = row;
  const options =
    physical === 'f32' || !basePrecision ? {} : { basePrecision, doubleQuantisation: basePrecision === 'nf4' };
  // Numbers of NF4 are held to themselves in float; of FP8, whose products round activations too, to what they were.
  const model = await randomLlama(config, physical, options, basePrecision === 'nf4' ? 'nf4' : null);
  const method = await attach(model, row, configs, {
    ...(physical === 'f32' && { mode: 'replayed' }),
    listener: ({ layer, part, selection: { indices, total } }) => {
      chosen.set(`${layer} ${part}`, { indices: (indices.dataSync() as Int32Array).slice(), total });
    },
  });
  // B begins at zero, and then A has no gradient.
  [...method.variables].forEach(([name, variable], n) => {
    if (name.endsWith('lora_B.weight'))
      tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 0.02, 'float32', n)));
  });
  const batch = rowBatch(config.vocabSize, { ...row, batch: 2, length: 77, labelled: 20 });
  const run = () => method.gradients(batch);
  const { loss, gradients } = physical === 'f32' ? withoutKernels(run) : run();
  const found = {
    loss: loss.dataSync()[0]!,
    gradients: new Map([...gradients].map(([name, g]) => [name, g.dataSync().slice() as Float32Array])),
  };
  loss.dispose();
  for (const g of gradients.values()) (g as tf.Tensor).dispose();
  method.dispose();
  model.dispose();
  return found;
}

/** ‖a − b‖² and ‖b‖². */
function squares(a: Float32Array, b: Float32Array): { difference: number; norm: number } {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  return { difference, norm };
}

export interface VerifyOptions {
  /** Widths; two layers whatever it says. Default Llama-3-8B's. */
  readonly shape?: LlamaConfig;
  /** For tests of the verification: changes what bf16 chose before float takes it. */
  readonly tamper?: (chosen: Selections) => void;
}

/** @returns what was verified. @throws Error when something differs. */
export async function verifyOnDevice(
  configs: string,
  say: (line: string) => void,
  { shape = LLAMA3_8B, tamper }: VerifyOptions = {},
): Promise<string[]> {
  const verified: string[] = [];
  for (const row of [
    { name: 'dense LoRA', dora: false, sparsity: null },
    { name: 'SparseLoRA', dora: false, sparsity: 'llama3-8b-math10k.yaml' },
    { name: 'DoRA', dora: true, sparsity: null },
    { name: 'dense LoRA on a base in FP8', dora: false, sparsity: null, basePrecision: 'fp8' as const },
    {
      name: 'SparseLoRA on a base in FP8',
      dora: false,
      sparsity: 'llama3-8b-math10k.yaml',
      basePrecision: 'fp8' as const,
    },
    { name: 'QLoRA on a base in NF4', dora: false, sparsity: null, basePrecision: 'nf4' as const },
    {
      ...{ name: 'SparseQLoRA on a base in NF4, layers run again', dora: false, sparsity: 'llama3-8b-math10k.yaml' },
      ...{ basePrecision: 'nf4' as const, checkpointing: true },
    },
  ]) {
    const allowed = row.basePrecision === 'fp8' ? ALLOWED_FP8 : ALLOWED;
    const chosen: Selections = new Map();
    const fast = await gradientsOf('bf16', chosen, row, configs, shape);
    if ((row.sparsity !== null) !== chosen.size > 0)
      throw new Error(`verification: ${row.name} chose ${chosen.size} times`);
    tamper?.(chosen);
    const unregister = registerEstimator(/^replayed$/, ({ mode }) => replayed(mode, chosen));
    const plain = await gradientsOf('f32', chosen, row, configs, shape).finally(unregister);
    const loss = Math.abs(fast.loss - plain.loss) / plain.loss;
    const each = [...plain.gradients].map(([name, g]) => ({ name, ...squares(fast.gradients.get(name)!, g) }));
    const sum = (of: 'difference' | 'norm') => each.reduce((total, entry) => total + entry[of], 0);
    const all = Math.sqrt(sum('difference') / sum('norm'));
    const [worst] = each
      .map(({ name, difference, norm }) => ({ name, by: Math.sqrt(difference / norm) }))
      .sort((a, b) => b.by - a.by) as [{ name: string; by: number }];
    const fact =
      `${row.name}${row.basePrecision ? '' : ' in bf16'} against float32 compositions: loss within ${loss.toExponential(1)}, gradients within ${all.toExponential(1)}, the ` +
      `worst within ${worst.by.toExponential(1)} (${worst.name})`;
    say(`verified: ${fact}`);
    // Written so that NaN fails.
    if (!(loss <= allowed.loss && all <= allowed.all && worst.by <= allowed.worst))
      throw new Error(`verification: ${fact}`);
    verified.push(fact);
  }
  return verified;
}
