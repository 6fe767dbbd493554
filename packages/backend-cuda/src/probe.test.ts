/** @file What is found on a machine, and what is said where something is missing; on the emulator. */
import { mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { activateBackend, chooseBackend } from '@spft/backends';
import * as tf from '@tensorflow/tfjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cudaUnavailable, emulated } from '../test/cuda.js';
import { describeProbe, probeCuda } from './index.js';

const why = emulated ? null : (cudaUnavailable ?? 'asks the emulator, and there is a GPU');

/** A folder with some of the emulator's libraries. */
function folderOf(...files: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'spft-cuda-'));
  for (const file of files) symlinkSync(join(process.env.SPFT_CUDA_PATH!, file), join(folder, file));
  return folder;
}

afterEach(() => vi.unstubAllEnvs());

describe.skipIf(why)(`probeCuda()${why ? ` (${why})` : ''}`, () => {
  it('says what was found, and takes no memory', () => {
    const probe = probeCuda();
    expect(probe.problems).toEqual([]);
    expect(probe.available).toBe(true);
    expect(probe.nvrtc?.path).toBe(join(process.env.SPFT_CUDA_PATH!, 'libnvrtc.so'));
    expect(describeProbe(probe)).toMatch(
      /^spft emulator, compute capability 9\.0, 4\.0 GiB, driver for CUDA 13\.0 \(.*libcuda\.so\.1\), NVRTC .*, cuBLASLt 13\.0\.0 \(.*\), NCCL 2\.27\.7 \(.*libnccl\.so\.2\)$/,
    );
  });

  it('says that there is no NCCL, or one too old, which one GPU alone does not need', () => {
    vi.stubEnv('SPFT_EMULATOR_NCCL_VERSION', '21704');
    expect(describeProbe(probeCuda())).toContain('no NCCL for several GPUs (NCCL (libnccl.so.2) was not found');
    expect(probeCuda().ncclProblem).toContain('is 2.17.4; 2.18 or newer is needed');
    vi.unstubAllEnvs();
    vi.stubEnv('SPFT_CUDA_PATH', folderOf('libcuda.so.1', 'libcublasLt.so', 'libnvrtc.so'));
    const probe = probeCuda();
    expect([probe.available, probe.nccl]).toEqual([true, null]);
    vi.stubEnv('SPFT_NCCL_PATH', folderOf());
    expect(probeCuda().ncclProblem).toContain('NCCL (libnccl.so.2) was not found');
  });

  it('says what is missing, and how to get it', () => {
    vi.stubEnv('SPFT_CUDA_PATH', folderOf('libcuda.so.1', 'libcublasLt.so'));
    const probe = probeCuda();
    expect(probe.available).toBe(false);
    expect(probe.device?.name).toBe('spft emulator');
    expect(probe.problems).toEqual([
      {
        reason: `NVRTC was not found below SPFT_CUDA_PATH (${process.env.SPFT_CUDA_PATH})`,
        hint: expect.stringContaining('SPFT_CUDA_PATH must be a folder with libnvrtc.so.12'),
      },
    ]);
  });

  it('tells an old GPU, and one that is not there', async () => {
    vi.stubEnv('SPFT_EMULATOR_CAPABILITY', '7.5');
    expect(probeCuda().problems[0]!.reason).toBe(
      'spft emulator has compute capability 7.5; 8.0 (Ampere) or newer is needed, for bf16',
    );
    vi.unstubAllEnvs();
    vi.stubEnv('SPFT_CUDA_DEVICE', '3');
    const message = 'GPU 3 was asked for (SPFT_CUDA_DEVICE) and there is one, of number 0';
    const hint = 'set SPFT_CUDA_DEVICE to one of these, or unset it for the first';
    expect(probeCuda().problems).toEqual([{ reason: message, hint }]);
    await expect(chooseBackend('cuda')).rejects.toThrow(`backend 'cuda' cannot run here: ${message}; ${hint}`);
  });

  it.each([
    ['SPFT_CUDA_PRECISION', 'fp16', "SPFT_CUDA_PRECISION is 'fp16', must be bf16 (the default) or float32"],
    ['SPFT_CUDA_DEVICE', 'first', "SPFT_CUDA_DEVICE is 'first', must be the number of a GPU"],
  ])('refuses %s=%s', (name, value, message) => {
    vi.stubEnv(name, value);
    expect(probeCuda().problems[0]!.reason).toContain(message);
  });
});

describe.skipIf(why)('activateBackend()', () => {
  it('says why a GPU that is there does not start', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    vi.stubEnv('SPFT_EMULATOR_FAIL', 'cuDevicePrimaryCtxRetain:1+:46');
    await expect(activateBackend('cuda')).rejects.toThrow(
      'did not start (cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE (46))',
    );
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    expect((await activateBackend('cuda')).name).toBe('cuda');
    expect(tf.getBackend()).toBe('cuda');
  });

  it('takes cuda first where there is a GPU', async () => {
    expect((await chooseBackend()).why).toMatch(/^cuda: spft emulator, /);
    tf.removeBackend('cuda');
  });
});
