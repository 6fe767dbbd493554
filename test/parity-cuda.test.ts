/** @file Parity on the backend `cuda`, on a GPU or the emulator, in both precisions: one golden model with the files that differ most. */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { restartCuda } from '../packages/backend-cuda/src/index.js';
import { cuda, cudaUnavailable } from '../packages/backend-cuda/test/cuda.js';
import { runParity } from '../scripts/parity/run.js';
import { useBackend } from './support/backends.js';

const SHARED = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url));
const GOLDEN = join(SHARED, 'golden/seed0/gqa');
const FILES = ['model', 'dense.safetensors', 'lora', 'sparse/adapter', 'sparse/svd_8_corrected_split.safetensors'];

const why = cudaUnavailable?.split('\n')[0] ?? (existsSync(GOLDEN) ? null : `${GOLDEN} is absent`);

describe.skipIf(why)(`npm run parity on cuda${why ? ` (${why})` : ''}`, () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'spft-parity-cuda-'));
    for (const file of FILES) await cp(join(GOLDEN, file), join(root, 'gqa', file), { recursive: true });
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await useBackend('cpu');
    await rm(root, { recursive: true });
  });

  it.each([
    ['float32', 'f32'],
    ['bf16', 'bf16'],
  ])('passes in %s', { timeout: 300_000 }, async (precision, weightType) => {
    vi.stubEnv('SPFT_CUDA_PRECISION', precision);
    await useBackend('cuda');
    await restartCuda();
    expect(cuda().weightType).toBe(weightType);
    const lines: string[] = [];
    const code = await runParity([root], (line) => lines.push(line));
    expect(lines.filter((line) => !line.startsWith('pass')).slice(0, -1)).toEqual([]);
    expect(code).toBe(0);
    expect(lines.length).toBeGreaterThan(250);
  });
});
