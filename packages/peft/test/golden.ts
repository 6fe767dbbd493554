/** @file Where the golden values are; tests that use them skip where they are absent. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { llamaShapes } from './tiny-host.js';

const candidate = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

/** The folder with `golden/`, or null. */
export const SHARED = existsSync(`${candidate}/golden/seed0`) ? candidate : null;

/** Folders of adapters as PEFT saved them, below `golden/`. */
export const GOLDEN_ADAPTERS = ['gqa', 'mha', 'llama31'].flatMap((model) =>
  ['lora', 'dora', 'sparse'].map((kind) => `seed0/${model}/${kind}/adapter`),
);

/** Shapes of the linear layers of the model that an adapter of `GOLDEN_ADAPTERS` is for. */
export function goldenShapes(adapter: string) {
  const config = JSON.parse(readFileSync(`${SHARED}/golden/${adapter}/../../model/config.json`, 'utf8'));
  return llamaShapes({
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    kv: config.num_key_value_heads * config.head_dim,
    intermediate: config.intermediate_size,
  });
}
