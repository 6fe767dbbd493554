/** @file A tiny model whose rows are of whole blocks, and a folder for GGUF files, for the tests of GGUF. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import type { LlamaForCausalLM } from '../src/llama.js';
import type { LlamaConfig } from '../src/llama-config.js';
import { TINY, tinyModel } from './tiny.js';

/** Whose tokenizer a file gets. */
export const source = fileURLToPath(new URL('../fixtures/tokenizers/llama3', import.meta.url));

/** Rows of whole blocks, and as many as the tokenizer has tokens. */
export const CONFIG: LlamaConfig = {
  ...TINY,
  ...{ vocabSize: 405, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, headDim: 8 },
  ...{ bosTokenId: 400, eosTokenIds: [401], padTokenId: 402 },
};

export const model = (overrides: Partial<LlamaConfig> = {}) => tinyModel({ ...CONFIG, ...overrides });

/** A folder for the tests of a file, on the backend `cpu`. */
export function ggufFolder(): { /** A name in it that was not given yet. */ path(): string; readonly root: string } {
  let root = '';
  let count = 0;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'spft-models-gguf-'));
    await useBackend('cpu');
  });
  afterAll(() => rm(root, { recursive: true }));
  return {
    path: () => join(root, `model${count++}.gguf`),
    get root() {
      return root;
    },
  };
}

/** The greatest distance of any weight, relative to its tensor's greatest. */
export function distance(a: LlamaForCausalLM, b: LlamaForCausalLM): number {
  let worst = 0;
  expect([...a.tensors.keys()]).toEqual([...b.tensors.keys()]);
  for (const [name, tensor] of a.tensors) {
    const [x, y] = [tensor, b.tensors.get(name)!].map((one) => one.dataSync() as Float32Array) as [
      Float32Array,
      Float32Array,
    ];
    const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    x.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - y[i]!) / most);
    });
  }
  return worst;
}
