/**
 * @file Before anything is timed: two layers at the widths of Llama-3-8B in bf16, by the fast kernels, against the same weights in float and
 * every op by its composition. Sequences of odd lengths.
 */

import type { LlamaConfig } from '@spft/models';
import { withoutKernels } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { LLAMA3_8B, randomLlama, rowBatch } from './llama.js';
import { attach } from './method.js';

/** Relative distance ‖a − b‖ / ‖b‖ allowed in bf16 of the loss, and of the worst gradient of all. */
const ALLOWED = { loss: 2e-2, gradient: 3e-2 };

interface Found {
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

async function gradientsOf(
  physical: 'bf16' | 'f32',
  row: { dora: boolean; sparsity: string | null },
  configs: string,
  shape: LlamaConfig,
): Promise<Found> {
  const config = { ...shape, numHiddenLayers: 2, vocabSize: Math.min(4096, shape.vocabSize) };
  const model = await randomLlama(config, physical);
  const method = await attach(model, row, configs, 2);
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

function distance(a: Float32Array, b: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** @returns what was verified. @throws Error when something differs. */
export async function verifyOnDevice(
  configs: string,
  say: (line: string) => void,
  shape: LlamaConfig = LLAMA3_8B,
): Promise<string[]> {
  const verified: string[] = [];
  for (const row of [
    { name: 'dense LoRA', dora: false, sparsity: null },
    { name: 'SparseLoRA', dora: false, sparsity: 'llama3-8b-math10k.yaml' },
    { name: 'DoRA', dora: true, sparsity: null },
  ]) {
    const [fast, plain] = [
      await gradientsOf('bf16', row, configs, shape),
      await gradientsOf('f32', row, configs, shape),
    ];
    const loss = Math.abs(fast.loss - plain.loss) / plain.loss;
    const distances = [...plain.gradients].map(([name, g]) => ({ name, by: distance(fast.gradients.get(name)!, g) }));
    const worst = distances.reduce((a, b) => (b.by > a.by || Number.isNaN(b.by) ? b : a));
    const fact = `${row.name} in bf16: loss within ${loss.toExponential(1)}, gradients within ${worst.by.toExponential(1)} of float32 compositions`;
    say(`verified: ${fact}`);
    if (!(loss <= ALLOWED.loss && worst.by <= ALLOWED.gradient))
      throw new Error(`verification: ${fact} (${worst.name})`);
    verified.push(fact);
  }
  return verified;
}
