/** @file Algorithms of cuBLASLt are chosen once for similar numbers of rows, and only what is proposed for a product makes it. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { describeCuda, emulated } from '../../test/cuda.js';
import { CudaError, restartCuda } from '../index.js';
import { readCached, writeCached } from './cache-files.js';

/** The emulator's algorithms, by name. */
const [FIRST, SECOND] = ['0,0,0,0,0,0,0,0,0', '1,0,0,0,0,0,0,0,0'];
const [N, K] = [512, 512];

describeCuda('products of many shapes', () => {
  let cache = '';
  const fileOf = () => join(cache, readdirSync(cache).find((name) => name.startsWith('algorithms-')) ?? 'none');
  const choices = () => JSON.parse(readCached(fileOf())?.toString() ?? '{}') as Record<string, string>;
  const ones = (rows: number) => {
    expectAllClose(`${rows} rows`, tf.matMul(tf.ones([rows, K]), tf.ones([K, N])), new Float32Array(rows * N).fill(K));
  };
  /** Starts anew, where `algorithm` was chosen for the products of 512 rows. */
  const choose = async (algorithm: string) => {
    ones(512);
    const made = Object.fromEntries(Object.keys(choices()).map((key) => [key, algorithm]));
    expect(Object.keys(made)).toHaveLength(1);
    writeCached(fileOf(), Buffer.from(JSON.stringify(made)));
    await restartCuda();
  };

  beforeEach(async () => {
    cache = mkdtempSync(join(tmpdir(), 'spft-choices-'));
    vi.stubEnv('SPFT_CUDA_CACHE', cache);
    vi.stubEnv('SPFT_CUDA_TUNE', '1');
    await restartCuda();
  }, 120_000);
  afterEach(async () => {
    vi.unstubAllEnvs();
    await restartCuda();
    rmSync(cache, { recursive: true });
  });

  it('take the algorithm that was measured for fewer rows, of either operand', { timeout: 240_000 }, () => {
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
    const chosen = Object.keys(choices());
    expect(chosen.map((key) => key.split(',').slice(0, 3).join()).sort()).toEqual(['512,512,512', '512,512,512']);
  });

  it.skipIf(!emulated)('launch no algorithm that is not proposed for their shape', { timeout: 240_000 }, async () => {
    vi.stubEnv('SPFT_EMULATOR_BLAS_PICKY', '8');
    await choose(SECOND);
    ones(512);
    // 8 divides 520 and not 517, for which the second one fails.
    ones(520);
    ones(517);
    expect(Object.values(choices())).toEqual([SECOND]);
  });

  it.skipIf(!emulated)(
    'launch no kernel of large clusters, be it proposed first or chosen',
    { timeout: 240_000 },
    async () => {
      vi.stubEnv('SPFT_EMULATOR_BLAS_CLUSTER', '5');
      await choose('0,0,0,0,0,0,0,0,5');
      ones(512);
      expect(Object.values(choices())).toEqual(['0,0,0,0,0,0,0,0,5']);
      // 2×4 and 4×2: launched it would fail, and the other one be remembered in its place.
      for (const shape of ['9', '7']) {
        vi.stubEnv('SPFT_EMULATOR_BLAS_CLUSTER', shape);
        const large = `0,0,0,0,0,0,0,0,${shape}`;
        await choose(large);
        ones(512);
        expect(Object.values(choices())).toEqual([large]);
      }
    },
  );

  it.skipIf(!emulated)('take another proposal where one fails, and remember it', { timeout: 240_000 }, async () => {
    await choose(SECOND);
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cublasLtMatmul:1:13,cublasLtMatmul:4:13');
    ones(512);
    expect(Object.values(choices())).toEqual([FIRST]);
    ones(512);
    // The fourth launch fails, which is that of a product with a borrowed algorithm.
    ones(600);
    const remembered = choices();
    expect(Object.keys(remembered).map((key) => key.split(',')[0])).toEqual(['512', '600']);
    expect(Object.values(remembered)).toEqual([FIRST, SECOND]);
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cublasLtMatmul:1+:13');
    expect(() => ones(512)).toThrow(CudaError);
    expect(() => ones(512)).toThrow(
      /^cublasLtMatmul: CUBLAS_STATUS_EXECUTION_FAILED \(13\); of \[512,512\]·\[512,512\], f32 to f32; 2 algorithms tried, \d+ MiB of the GPU free$/,
    );
  });

  it.skipIf(!emulated)(
    'try all proposals again where none can be launched just now',
    { timeout: 240_000 },
    async () => {
      await choose(FIRST);
      // The launch and both proposals of the first round are refused, and of the next one the first.
      const refused = [1, 2, 3].map((n) => `cublasLtMatmul:${n}:13`).join();
      vi.stubEnv('SPFT_EMULATOR_FAIL', refused);
      ones(512);
      expect(Object.values(choices())).toEqual([FIRST]);
    },
  );

  it.skipIf(!emulated)('choose none that fails when it is timed', { timeout: 240_000 }, async () => {
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cublasLtMatmul:1:13');
    ones(512);
    expect(Object.values(choices())).toEqual([SECOND]);
    // Where all fail nothing is chosen, and the product fails by its own launch.
    rmSync(fileOf());
    await restartCuda();
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cublasLtMatmul:1+:13');
    expect(() => ones(512)).toThrow(CudaError);
    expect(choices()).toEqual({});
  });

  it.skipIf(!emulated)('are not timed beside other processes, and it is said', { timeout: 240_000 }, async () => {
    vi.stubEnv('SPFT_CUDA_TUNE', '');
    vi.stubEnv('SPFT_EMULATOR_OTHERS', `${3.5 * 2 ** 30}`);
    await restartCuda();
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    ones(512);
    ones(1024);
    expect(readdirSync(cache).filter((name) => name.startsWith('algorithms-'))).toEqual([]);
    expect(warn.mock.calls.flat().filter((text) => /other processes use this GPU/.test(String(text)))).toHaveLength(1);
    warn.mockRestore();
    vi.stubEnv('SPFT_EMULATOR_OTHERS', '0');
    await restartCuda();
    ones(512);
    expect(Object.keys(choices())).toHaveLength(1);
  });

  it('are chosen anew where the file is another’s or no file', { timeout: 240_000 }, async () => {
    ones(512);
    const whole = readCached(fileOf())!;
    const [key] = Object.keys(choices());
    const bad: (() => void)[] = [
      () => writeFileSync(fileOf(), ''),
      () => writeFileSync(fileOf(), '{"512,512,512": 1'),
      () => writeFileSync(fileOf(), whole),
      () => writeCached(fileOf(), Buffer.from('[1, 2]')),
      () => writeCached(fileOf(), Buffer.from('null')),
      () => writeCached(fileOf(), Buffer.from(JSON.stringify({ [key!]: '77,1,1,0,0,0,0,0,0' }))),
      () => writeCached(fileOf(), Buffer.from(JSON.stringify({ [key!]: 5 }))),
    ];
    for (const spoil of bad) {
      spoil();
      await restartCuda();
      ones(512);
      expect([FIRST, SECOND].includes(choices()[key!]!) || !emulated).toBe(true);
    }
    expect(readdirSync(cache).filter((name) => !/\.(json|cubin)$/.test(name))).toEqual([]);
  });
});
