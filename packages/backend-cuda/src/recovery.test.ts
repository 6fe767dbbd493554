/** @file Errors of the compiler, of memory and of kernels: what they say, and that work goes on after them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import { cuda, describeCuda, emulated } from '../test/cuda.js';
import { readCached, writeCached } from './device/cache-files.js';
import { CudaCompileError, CudaError, CudaOutOfMemoryError, restartCuda } from './index.js';

/** Something that takes a few kernels and products. */
function works(): void {
  const x = tf.tensor2d([
    [1, 2],
    [3, 4],
  ]);
  expect([...tf.tidy(() => tf.softmax(tf.matMul(x, x)).sum(1)).dataSync()]).toEqual([
    expect.closeTo(1, 5),
    expect.closeTo(1, 5),
  ]);
  x.dispose();
}

/** What `f` throws. */
function thrown(f: () => unknown): Error {
  try {
    f();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

describeCuda('errors of cuda', () => {
  it('show the line of a source that does not compile', () => {
    const error = thrown(() =>
      cuda().kernel('cast', 'cast_elements', 'ppl', { FROM: 'float', TO: 'quad' }),
    ) as CudaCompileError;
    expect(error).toBeInstanceOf(CudaCompileError);
    expect(error).toMatchObject({ code: 'SPFT_CUDA_COMPILE', file: 'cast.cu' });
    expect(error.message).toMatch(/^cast\.cu does not compile \(.*-DTO=quad.*\):\n/);
    expect(error.message).toMatch(
      /\n {4}\d+ \| extern "C" __global__ void cast_elements\(const FROM\* from, TO\* to, i64 size\)/,
    );
    works();
  });

  it('are none where the cache holds something else than kernels: what is spoilt is compiled anew', {
    timeout: 240_000,
  }, async () => {
    const cache = mkdtempSync(join(tmpdir(), 'spft-kernels-'));
    vi.stubEnv('SPFT_CUDA_CACHE', cache);
    vi.stubEnv('SPFT_EMULATOR_QUIET', '1');
    const run = async () => {
      await restartCuda();
      expect(tf.tidy(() => tf.exp(tf.ones([64])).dataSync()[0])).toBeCloseTo(Math.E, 5);
      return readdirSync(cache).filter((name) => name.endsWith('.cubin'));
    };
    try {
      const [name, ...more] = await run();
      expect(more).toEqual([]);
      const path = join(cache, name!);
      const image = readCached(path)!;
      const file = readFileSync(path);
      const spoil: [string, () => void][] = [
        ['empty', () => writeFileSync(path, '')],
        ['cut off', () => writeFileSync(path, file.subarray(0, file.length / 2))],
        ['without a checksum', () => writeFileSync(path, image)],
        ['garbage', () => writeFileSync(path, 'garbage')],
        // As it was written, but nothing that the driver takes.
        ['whole, but no image', () => writeCached(path, Buffer.from('garbage'))],
      ];
      for (const [title, bad] of spoil) {
        bad();
        expect(await run(), title).toEqual([name]);
        expect(readCached(path), title).not.toBeNull();
        expect(readCached(path)!.length, title).toBe(image.length);
      }
    } finally {
      vi.unstubAllEnvs();
      await restartCuda();
      rmSync(cache, { recursive: true });
    }
  });

  it('say what holds the memory when there is none left, and leave everything as it was', () => {
    const x = tf.ones([1024, 256]);
    const held = tf.tidy(() => tf.keep(tf.exp(x)));
    const [bytes, ids] = [cuda().memoryPool.bytes, cuda().numDataIds()];
    const wanted = cuda().device.info.totalBytes / 4 + 1;
    const asked = vi.spyOn(cuda().device.driver, 'cuMemAllocAsync');
    const error = thrown(() => cuda().output([wanted])) as CudaOutOfMemoryError;
    expect(error).toBeInstanceOf(CudaOutOfMemoryError);
    expect(asked).not.toHaveBeenCalled();
    asked.mockRestore();
    expect(error).toMatchObject({ code: 'SPFT_CUDA_MEMORY', total: expect.any(Number), free: expect.any(Number) });
    expect(error.holders).toContainEqual({ by: 'Exp', bytes: 2 ** 20, tensors: 1 });
    expect(error.message).toMatch(
      /^no room for \d+\.\d\d GiB on the GPU: .* are free; held are .*1\.00 MiB by 1 tensors of Exp/,
    );
    expect(error.message).toContain('A smaller batch, shorter sequences or gradient checkpointing need less');
    expect([cuda().memoryPool.bytes, cuda().numDataIds()]).toEqual([bytes, ids]);
    expect(held.dataSync()[0]).toBeCloseTo(Math.E, 5);
    tf.dispose([x, held]);
    works();
  });

  it.skipIf(!emulated)('leave no tensor of an op that ran out of memory in its middle', () => {
    const x = tf.ones([512, 512]);
    const [bytes, tensors] = [cuda().memoryPool.bytes, tf.memory().numTensors];
    vi.stubEnv('SPFT_EMULATOR_MEMORY', String(bytes + 2.5 * 2 ** 20));
    const error = thrown(() => tf.tidy(() => tf.exp(tf.matMul(tf.exp(x), tf.exp(x)))));
    vi.unstubAllEnvs();
    expect(error).toBeInstanceOf(CudaOutOfMemoryError);
    expect([cuda().memoryPool.bytes, tf.memory().numTensors]).toEqual([bytes, tensors]);
    x.dispose();
    works();
  });

  it.skipIf(!emulated)('of a launch that is refused name it and lose nothing', () => {
    const x = tf.ones([64]);
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cuLaunchKernel:1+:701');
    const error = thrown(() => tf.exp(x)) as CudaError;
    vi.unstubAllEnvs();
    expect(error).toBeInstanceOf(CudaError);
    expect(error).toMatchObject({
      code: 'SPFT_CUDA',
      call: 'cuLaunchKernel',
      status: 701,
      statusName: 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES',
    });
    expect(tf.tidy(() => tf.sum(tf.exp(x)).dataSync()[0])).toBeCloseTo(64 * Math.E, 3);
    x.dispose();
  });

  it('restartCuda() starts anew without tensors', async () => {
    const old = [tf.ones([4096]), tf.tensor2d([[1, 2]])];
    works();
    const before = cuda();
    await restartCuda();
    expect(cuda()).not.toBe(before);
    expect(cuda().numDataIds()).toBe(0);
    tf.dispose(old);
    works();
  });

  // The last one: no kernel runs in this process after it.
  it('of a kernel that failed say that nothing runs here any more; all can be freed, and another backend goes on', async () => {
    const lost = [tf.ones([4096]), tf.tensor2d([[1, 2]])];
    works();
    vi.stubEnv('SPFT_EMULATOR_QUIET', '1');
    const nowhere = () => {
      const kernel = cuda().kernel('cast', 'cast_elements', 'ppl', { FROM: 'float', TO: 'float' });
      cuda().launch(kernel, [1], [32], [4096, 8192, 32]);
      cuda().device.synchronize();
    };
    const error = thrown(nowhere) as CudaError;
    expect(error).toBeInstanceOf(CudaError);
    expect(error.message).toMatch(/CUDA_ERROR_ILLEGAL_ADDRESS \(700\); a kernel .* failed, .* start a new process/);
    expect(() => tf.exp(lost[0]!).dataSync()).toThrow(CudaError);
    tf.dispose(lost[0]!);
    await expect(restartCuda()).rejects.toThrow(error.message.replace(/^\w+/, 'cuDevicePrimaryCtxRetain'));
    tf.dispose(lost);
    expect(await tf.setBackend('cpu')).toBe(true);
    works();
    vi.unstubAllEnvs();
  });
});
