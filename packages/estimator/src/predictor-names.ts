/**
 * @file What predictors are called in files. The hub layout has `model.layers.N.mlp.gate_proj.w1|w2`; upstream's first release
 * `layers.N.mlp_low_rank_a|b`, gate and up stacked, and `layers.N.self_attn_q_low_rank_a|b`. Both are read, the hub layout is written.
 */
import { firstNonFinite, type SafetensorsFile } from '@spft/safetensors';
import { PredictorError } from './errors.js';

/** One factor in a file: a tensor, or one of the matrices stacked on its first axis. */
interface Factor {
  readonly tensor: string;
  readonly slice: number | null;
}

export interface FactorNames {
  readonly w1: Factor;
  readonly w2: Factor;
}

const HUB = /^(?:base_model\.model\.)?((?:model\.)?layers\.\d+\.(?:mlp|self_attn)\.(?:gate|up|q|k|v)_proj)\.(w1|w2)$/;
const STACKED_MLP = /^(?:predictor\.)?(?:model\.)?(layers\.\d+)\.mlp_low_rank_(a|b)$/;
const ATTENTION = /^(?:predictor\.)?(?:model\.)?(layers\.\d+)\.self_attn_(q|k|v)_low_rank_(a|b)$/;

/** Where each projection's factors are, by the projection's full name; other tensors of the file are passed over. */
export function factorsByProjection(names: readonly string[], source: string): Map<string, FactorNames> {
  const found = new Map<string, Partial<FactorNames>>();
  const add = (projection: string, factor: 'w1' | 'w2', tensor: string, slice: number | null = null) => {
    const full = projection.startsWith('model.') ? projection : `model.${projection}`;
    found.set(full, { ...found.get(full), [factor]: { tensor, slice } });
  };
  for (const name of names) {
    const hub = HUB.exec(name);
    const mlp = STACKED_MLP.exec(name);
    const attention = ATTENTION.exec(name);
    if (hub) add(hub[1]!, hub[2] as 'w1' | 'w2', name);
    if (mlp) {
      add(`${mlp[1]}.mlp.gate_proj`, mlp[2] === 'a' ? 'w1' : 'w2', name, 0);
      add(`${mlp[1]}.mlp.up_proj`, mlp[2] === 'a' ? 'w1' : 'w2', name, 1);
    }
    if (attention) add(`${attention[1]}.self_attn.${attention[2]}_proj`, attention[3] === 'a' ? 'w1' : 'w2', name);
  }
  for (const [projection, { w1, w2 }] of found) {
    if (!w1 || !w2) {
      const has = (w1 ?? w2)!.tensor;
      throw new PredictorError(
        `${source}: ${projection} has one factor, '${has}', and lacks the other; the file is incomplete`,
      );
    }
  }
  return found as Map<string, FactorNames>;
}

/** A matrix on the host. */
export interface HostMatrix {
  readonly shape: readonly [number, number];
  readonly data: Float32Array;
}

/** @throws PredictorError when the tensor is no matrix, or no stack of two where one is wanted. */
export async function readFactor(
  file: SafetensorsFile,
  { tensor, slice }: Factor,
  source: string,
): Promise<HostMatrix> {
  const { shape } = file.entry(tensor);
  const data = await finiteValues(file, tensor, source);
  if (slice === null) {
    if (shape.length === 2) return { shape: [shape[0]!, shape[1]!], data };
    throw new PredictorError(`${source}: '${tensor}' should be a matrix, found shape [${shape}]`);
  }
  if (shape.length !== 3 || shape[0] !== 2) {
    throw new PredictorError(
      `${source}: '${tensor}' should hold two matrices, gate's and up's, found shape [${shape}]`,
    );
  }
  const size = shape[1]! * shape[2]!;
  return { shape: [shape[1]!, shape[2]!], data: data.slice(slice * size, (slice + 1) * size) };
}

/**
 * A tensor's values, each of which must be a number: scores from others would keep any channels, without a word.
 * @throws PredictorError naming the first that is not finite.
 */
export async function finiteValues(file: SafetensorsFile, tensor: string, source: string): Promise<Float32Array> {
  const data = await file.float32(tensor);
  const at = firstNonFinite(data);
  if (at < 0) return data;
  throw new PredictorError(
    `${source}: '${tensor}' has ${data[at]} as value ${at} of ${data.length}; build them again (spft predictor build)`,
  );
}
