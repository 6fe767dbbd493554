/** @file Where the golden values are; tests that use them skip where they are absent. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const candidate = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

/** The folder with `golden/`, or null. */
export const SHARED = existsSync(`${candidate}/golden/seed0`) ? candidate : null;

/** Folders of adapters as PEFT saved them, below `golden/`. */
export const GOLDEN_ADAPTERS = ['gqa', 'mha', 'llama31'].flatMap((model) =>
  ['lora', 'dora', 'sparse'].map((kind) => `seed0/${model}/${kind}/adapter`),
);
