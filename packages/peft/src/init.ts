/** @file Seeded initial values of A and B, on the host: the same on every backend. */

import { AdapterError } from './errors.js';
import type { LoraConfig } from './lora-config.js';

/** Uniform numbers in [0, 1) of 32 bits (mulberry32). */
export function uniformGenerator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A seed that depends on a run's seed and on a name, not on what else there is (FNV-1a, then mixed). */
export function seedFor(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** By a loop: `Float32Array.from` takes four times as long, seconds for a large model's adapters. */
function filled(length: number, next: () => number): Float32Array {
  const values = new Float32Array(length);
  for (let n = 0; n < length; n++) values[n] = next();
  return values;
}

export interface InitialLora {
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
}

/**
 * Initial values as PEFT has them: kaiming-uniform with a = √5 is uniform in ±1/√(fan in).
 * @throws AdapterError for initialisations whose values only come from a file.
 */
export function initialLora(
  initialisation: LoraConfig['initLoraWeights'],
  r: number,
  inFeatures: number,
  outFeatures: number,
  seed: number,
): InitialLora {
  const random = uniformGenerator(seed);
  const uniform = (length: number, bound: number) => filled(length, () => (2 * random() - 1) * bound);
  switch (initialisation) {
    case true:
      return { a: uniform(r * inFeatures, 1 / Math.sqrt(inFeatures)), b: new Float32Array(outFeatures * r) };
    case false:
      return { a: uniform(r * inFeatures, 1 / Math.sqrt(inFeatures)), b: uniform(outFeatures * r, 1 / Math.sqrt(r)) };
    case 'gaussian': {
      const normal = normalGenerator(seed);
      return {
        a: filled(r * inFeatures, () => normal() / r),
        b: new Float32Array(outFeatures * r),
      };
    }
    default:
      return refuseInitialisation(initialisation);
  }
}

/**
 * Initial values of A [r, V] and B [H, r] on an embedding, as PEFT has them: A zero and B normal; with `false` both normal.
 * @throws AdapterError for initialisations whose values only come from a file.
 */
export function initialEmbeddingLora(
  initialisation: LoraConfig['initLoraWeights'],
  r: number,
  vocabSize: number,
  hiddenSize: number,
  seed: number,
): InitialLora {
  if (typeof initialisation === 'string' && initialisation !== 'gaussian') refuseInitialisation(initialisation);
  const normal = normalGenerator(seed);
  const b = filled(hiddenSize * r, normal);
  const a = new Float32Array(r * vocabSize);
  return { a: initialisation === false ? a.map(normal) : a, b };
}

/** Standard normal numbers (Box and Muller); 1 − u keeps the logarithm finite. */
function normalGenerator(seed: number): () => number {
  const random = uniformGenerator(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function refuseInitialisation(initialisation: string): never {
  throw new AdapterError(
    `init_lora_weights: '${initialisation}' is read from files but not computed here; use true, false or 'gaussian'`,
  );
}
