/**
 * @file Which model predictors were made from: its sizes, and a checksum of a sample of its weights. Sizes alone do not tell a base model
 * from its instruct version.
 */
import { originalSample, spreadPlaces } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { LowRank } from './low-rank.js';
import type { SparsityHost } from './types.js';

export interface ModelFingerprint {
  /** For people too: `32 layers, hidden 4096, intermediate 14336, heads 32/8 of 128`. */
  readonly shape: string;
  /** 16 hexadecimal digits. */
  readonly weights: string;
}

/** Reads a few kilobytes back from the device. */
export async function fingerprintOf(host: SparsityHost): Promise<ModelFingerprint> {
  const { heads, kvHeads, headDim } = host.headLayout;
  const shape =
    `${host.layerCount} layers, hidden ${host.hiddenSize}, intermediate ${host.intermediateSize}, ` +
    `heads ${heads}/${kvHeads} of ${headDim}`;
  const layers = new Set([0, Math.floor(host.layerCount / 2), host.layerCount - 1]);
  const hash = new Fnv1a();
  for (const layer of layers) {
    for (const projection of ['mlp.gate_proj', 'self_attn.q_proj']) {
      const weight = host.frozenWeight(`model.layers.${layer}.${projection}`);
      for (const value of await sample(weight)) hash.add16(bfloat16Bits(value));
    }
  }
  return { shape, weights: hash.hex() };
}

/** 16 hexadecimal digits of a sample of every predictor's factors and of the norms, with their names and sizes. */
export async function predictorsDigest({
  projections,
  norms,
}: {
  readonly projections: ReadonlyMap<string, LowRank>;
  readonly norms: ReadonlyMap<string, tf.Tensor1D>;
}): Promise<string> {
  const tensors: [string, tf.Tensor][] = [...norms];
  for (const [name, { a, b }] of projections) tensors.push([`${name}.a`, a], [`${name}.b`, b]);
  return tensorsDigest(tensors);
}

/** 16 hexadecimal digits of names, shapes and a sample of each tensor, rounded to bf16. */
export async function tensorsDigest(tensors: Iterable<readonly [name: string, tensor: tf.Tensor]>): Promise<string> {
  const hash = new Fnv1a();
  for (const [name, tensor] of tensors) {
    for (const byte of new TextEncoder().encode(`${name} ${tensor.shape};`)) hash.add16(byte);
    for (const value of await sample(tensor)) hash.add16(bfloat16Bits(value));
  }
  return hash.hex();
}

/** 16 hexadecimal digits of a text. */
export function textDigest(text: string): string {
  const hash = new Fnv1a();
  for (const byte of new TextEncoder().encode(text)) hash.add16(byte);
  return hash.hex();
}

async function sample(weight: tf.Tensor): Promise<Float32Array> {
  const original = originalSample(weight);
  if (original) return original.spread;
  const places = tf.tensor1d(spreadPlaces(weight.size), 'int32');
  const values = tf.tidy(() => tf.gather(tf.reshape(weight, [weight.size]), places));
  places.dispose();
  const data = await values.data<'float32'>();
  values.dispose();
  return data;
}

const word = new Uint32Array(1);
const real = new Float32Array(word.buffer);

/** Rounded to bf16, so that a backend which keeps weights so has the same fingerprint. */
function bfloat16Bits(value: number): number {
  real[0] = value;
  const bits = word[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** 64-bit FNV-1a. */
class Fnv1a {
  #state = 0xcbf29ce484222325n;

  add16(bits: number): void {
    for (const byte of [bits & 0xff, bits >>> 8]) {
      this.#state = ((this.#state ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    }
  }

  hex(): string {
    return this.#state.toString(16).padStart(16, '0');
  }
}
