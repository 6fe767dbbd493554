/** @file Algorithms of cuBLASLt are chosen once for similar numbers of rows, and plans do not pile up. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { describeCuda, emulated } from '../../test/cuda.js';
import { restartCuda } from '../index.js';

describeCuda('products of many shapes', () => {
  it('take the algorithm that was measured for fewer rows, of either operand', { timeout: 240_000 }, async () => {
    const cache = mkdtempSync(join(tmpdir(), 'spft-choices-'));
    vi.stubEnv('SPFT_CUDA_CACHE', cache);
    vi.stubEnv('SPFT_CUDA_TUNE', '1');
    await restartCuda();
    try {
      const [N, K] = [512, 512];
      const [x, w] = [tf.randomNormal([640, K], 0, 1, 'float32', 1), tf.randomNormal([K, N], 0, 1, 'float32', 2)];
      const rows = (n: number) => x.slice([0, 0], [n, K]);
      const whole = tf.matMul(rows(512), w).dataSync();
      for (const n of [517, 600, 639]) {
        expectAllClose(`${n} rows`, tf.matMul(rows(n), w).slice([0, 0], [512, N]), whole);
      }
      const products = (n: number) => tf.matMul(rows(n), x.slice([0, 0], [n, N]), true, false);
      const difference = tf.sub(products(600), products(599));
      const last = rows(600).slice([599, 0], [1, K]);
      expectAllClose('sums over rows', difference, tf.matMul(last, last, true).dataSync(), {
        relative: 1e-4,
        absolute: 1e-3,
      });
      const file = readdirSync(cache).find((name) => name.startsWith('algorithms-'))!;
      const chosen = Object.keys(JSON.parse(readFileSync(join(cache, file), 'utf8')));
      expect(chosen.map((key) => key.split(',').slice(0, 3).join()).sort()).toEqual(['512,512,512', '512,512,512']);
    } finally {
      vi.unstubAllEnvs();
      await restartCuda();
      rmSync(cache, { recursive: true });
    }
  });

  it.skipIf(!emulated)('take the first proposal where that algorithm does not fit', () => {
    const [x, w] = [tf.ones([603, 512]), tf.ones([512, 512])];
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cublasLtMatmulAlgoCheck:1+:15');
    try {
      expectAllClose('sums', tf.matMul(x, w), new Float32Array(603 * 512).fill(512));
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
