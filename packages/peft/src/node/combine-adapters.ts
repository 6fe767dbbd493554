/**
 * @file Several adapters as one: PEFT's `add_weighted_adapter` with `combination_type="linear"`. A and B are each summed with the roots of weight ×
 * scaling, so that one adapter alone gives itself; of several the products of A of one with B of another are in it too.
 */

import { join } from 'node:path';
import type { SafetensorsFile } from '@spft/safetensors';
import { openSafetensors, writeFileAtomically, writeSafetensors } from '@spft/safetensors/node';
import { adapterConfigText } from '../adapter-config-file.js';
import { ADAPTER_METADATA } from '../adapter-file.js';
import { isEmbeddingCopy } from '../embedding-copies.js';
import { AdapterError } from '../errors.js';
import type { LoraConfig } from '../lora-config.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_MODEL_FILE, loadAdapterConfig } from './adapter-directory.js';

/**
 * Writes the weighted sum of LoRA adapters into a directory.
 * @param weights one for each, negative too.
 * @throws AdapterError when they are not of the same rank and on the same layers, or one is no plain LoRA.
 */
export async function combineAdapters(
  directories: readonly string[],
  weights: readonly number[],
  out: string,
): Promise<void> {
  if (directories.length < 2 || weights.length !== directories.length || !weights.every(Number.isFinite)) {
    throw new AdapterError(
      `combining adapters: wanted at least two and a weight for each, found ${directories.length} adapters and weights ${weights.join(', ') || 'none'}`,
    );
  }
  const configs = await Promise.all(directories.map((directory) => loadAdapterConfig(directory)));
  const first = configs[0]!;
  configs.forEach((config, n) => {
    const problem = differenceOf(first, config);
    if (problem !== null) throw new AdapterError(`${directories[n]}: ${problem}; ${directories[0]} is ${text(first)}`);
  });
  const files: SafetensorsFile[] = [];
  try {
    for (const directory of directories) files.push(await openSafetensors(join(directory, ADAPTER_MODEL_FILE)));
    const tensors: Record<string, { dtype: 'F32'; shape: readonly number[]; data: Float32Array }> = {};
    const names = [...files[0]!.names];
    for (const name of names) {
      const { shape } = files[0]!.entry(name);
      const sum = new Float32Array(shape.reduce((size, n) => size * n, 1));
      for (const [n, file] of files.entries()) {
        if (!file.has(name) || file.names.length !== names.length || `${file.entry(name).shape}` !== `${shape}`) {
          throw new AdapterError(
            `${directories[n]}: has not the tensors of ${directories[0]} (${name}); combine adapters on the same layers of one base`,
          );
        }
        const values = await file.float32(name);
        if (isEmbeddingCopy(name)) {
          if (n > 0 && !sum.every((value, i) => value === values[i]))
            throw new AdapterError(otherCopy(name, directories[n]!));
          sum.set(values);
          continue;
        }
        const factor = factorOf(name, weights[n]! * scalingOf(configs[n]!), directories[n]!);
        values.forEach((value, i) => {
          sum[i] = sum[i]! + factor * value;
        });
      }
      tensors[name] = { dtype: 'F32', shape, data: sum };
    }
    await writeSafetensors(join(out, ADAPTER_MODEL_FILE), tensors, ADAPTER_METADATA);
  } finally {
    for (const file of files) await file.close();
  }
  // The scaling is in the values: alpha = r, as PEFT writes it.
  const config = { ...first, loraAlpha: first.r, useRslora: false };
  await writeFileAtomically(join(out, ADAPTER_CONFIG_FILE), (handle) => handle.writeFile(adapterConfigText(config)));
}

const scalingOf = ({ loraAlpha, r, useRslora }: LoraConfig) => loraAlpha / (useRslora ? Math.sqrt(r) : r);

/** The sign stands on A alone; on both it would go. */
function factorOf(name: string, weight: number, directory: string): number {
  const root = Math.sqrt(Math.abs(weight));
  if (/\.(?:lora_A\.weight|lora_embedding_A)$/.test(name)) return weight < 0 ? -root : root;
  if (/\.(?:lora_B\.weight|lora_embedding_B)$/.test(name)) return root;
  throw new AdapterError(`${directory}: '${name}' is no LoRA's tensor, and only plain LoRA can be combined linearly`);
}

const otherCopy = (name: string, directory: string) =>
  `${directory}: '${name}' has other values than the first adapter's: embedding or head are trained in full, or the bases differ, and neither can be combined linearly`;

const text = ({ r, useDora }: LoraConfig) => `${useDora ? 'DoRA' : 'LoRA'} of rank ${r}`;

function differenceOf(a: LoraConfig, b: LoraConfig): string | null {
  const inFull = b.extra.modules_to_save;
  if (Array.isArray(inFull) && inFull.length > 0) {
    return `its modules_to_save (${inFull.join(', ')}) are trained in full, which is not combined linearly`;
  }
  if (b.useDora) return 'is a DoRA, whose magnitudes cannot be added';
  if (Object.keys(b.rankPattern).length > 0 || Object.keys(b.alphaPattern).length > 0) {
    return 'has ranks or alphas of single layers, which are not combined here';
  }
  return a.r === b.r ? null : `has rank ${b.r}; adapters that are combined linearly have one rank`;
}
