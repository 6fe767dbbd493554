/**
 * @file Maps of `compensation_rank` as tensors of a safetensors file, and back: a file for each sparsity of the MLP, with the layers that were fitted at it.
 * In float32, so that a run computes the same whether it fitted them or found them.
 */
import { firstNonFinite, type SafetensorsFile, type TensorToWrite } from '@spft/safetensors';
import { noGradient, storedLike } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import type { MlpCompensation, SparsityHost } from './types.js';

/** What maps were fitted to; kept with them, and all of it must agree. */
export type CompensationFacts = Readonly<Record<'rank' | 'sparsity' | 'choice' | 'data' | 'model', string>>;

const PARTS = ['down', 'up', 'bias'] as const;
const nameOf = (layer: number, part: (typeof PARTS)[number]) => `model.layers.${layer}.mlp.compensation.${part}`;

/** @param maps by layer; not taken over. */
export async function compensationTensors(
  maps: ReadonlyMap<number, MlpCompensation>,
): Promise<Record<string, TensorToWrite>> {
  const tensors: Record<string, TensorToWrite> = {};
  for (const [layer, map] of maps) {
    for (const part of PARTS) {
      const data = await map[part].data<'float32'>();
      tensors[nameOf(layer, part)] = { dtype: 'F32', shape: map[part].shape, data };
    }
  }
  return tensors;
}

/**
 * The maps of those layers that the file has.
 * @returns by layer, owned by the caller.
 * @throws PredictorError when they were fitted to something else, do not fit the model, or have values that are no numbers; SafetensorsError when the file is
 * broken.
 */
export async function readCompensation(
  file: SafetensorsFile,
  host: SparsityHost,
  { rank, layers }: { readonly rank: number; readonly layers: Iterable<number> },
  facts: CompensationFacts,
  source: string,
): Promise<Map<number, MlpCompensation>> {
  for (const [key, wanted] of Object.entries(facts)) {
    const found = file.metadata[`compensation_${key}`];
    if (found === wanted) continue;
    throw new PredictorError(`${source}: maps of ${key} ${wanted} were wanted, found ${found ?? 'none said'}`);
  }
  const H = host.hiddenSize;
  const shapes = { down: [rank, H], up: [H, rank], bias: [H] } as const;
  const names = new Set(file.names);
  const maps = new Map<number, MlpCompensation>();
  const made: tf.Tensor[] = [];
  try {
    for (const layer of layers) {
      if (!names.has(nameOf(layer, 'down'))) continue;
      const like = host.frozenWeight(`model.layers.${layer}.mlp.down_proj`);
      const tensors: tf.Tensor[] = [];
      for (const part of PARTS) {
        const name = nameOf(layer, part);
        const { shape } = file.entry(name);
        if (shape.join() !== shapes[part].join()) {
          throw new PredictorError(`${source}: '${name}' should be [${shapes[part]}], found [${shape}]`);
        }
        const data = await file.float32(name);
        const at = firstNonFinite(data);
        if (at >= 0) throw new PredictorError(`${source}: '${name}' has ${data[at]} as value ${at} of ${data.length}`);
        const tensor = noGradient(() =>
          tf.tidy(() => {
            const plain = tf.tensor(data, [...shape], 'float32');
            return part === 'bias' ? plain : storedLike(plain, like);
          }),
        );
        made.push(tensor);
        tensors.push(tensor);
      }
      const [down, up, bias] = tensors as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
      maps.set(layer, { down, up, bias });
    }
    return maps;
  } catch (error) {
    tf.dispose(made);
    throw error;
  }
}

export const compensationMetadata = (facts: CompensationFacts): Record<string, string> =>
  Object.fromEntries(Object.entries(facts).map(([key, value]) => [`compensation_${key}`, value]));
