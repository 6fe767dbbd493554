/**
 * @file Where the backend `cuda` is tested: on this machine's GPU, else on the emulator (`emulator/`), which is built on first use where there is a
 * g++. Importing this decides which, before anything of CUDA is loaded. `SPFT_CUDA_PATH`, if set, is left alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { orRequired } from '../../../test/support/required.js';
import { CudaBackend } from '../src/index.js';

const EMULATOR = fileURLToPath(new URL('../emulator/', import.meta.url));
const BUILT = fileURLToPath(new URL('../../../node_modules/.cache/spft-cuda-emulator', import.meta.url));

/** Whether tests run on the emulator. */
export let emulated = false;

/** Why the backend cannot start here, or null where it can. */
export const cudaUnavailable: string | null = orRequired('cuda', prepare());

function prepare(): string | null {
  if (!process.env.SPFT_CUDA_PATH && !existsSync('/dev/nvidiactl') && !existsSync('/dev/dxg')) {
    const problem = useEmulator();
    if (problem) return `no GPU, and ${problem}`;
  }
  try {
    // Only looks: the backend proper is made when it is chosen.
    new CudaBackend(0).dispose();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Builds the emulator unless it is there, and points the backend to it; or says why it cannot. */
function useEmulator(): string | null {
  if (!existsSync(join(EMULATOR, 'build.sh'))) return 'there is no emulator in this checkout';
  if (spawnSync('g++', ['--version']).status !== 0) return 'the emulator needs g++';
  mkdirSync(BUILT, { recursive: true });
  // Test files run in processes of their own; one builds, the others wait.
  const build = ['sh', join(EMULATOR, 'build.sh'), BUILT];
  const locked = spawnSync('flock', [join(BUILT, 'lock'), ...build], { encoding: 'utf8' });
  const result = locked.error ? spawnSync(build[0]!, build.slice(1), { encoding: 'utf8' }) : locked;
  if (result.status !== 0) return `the emulator does not build: ${result.stderr}`;
  process.env.SPFT_CUDA_PATH = BUILT;
  // Kernels compiled for the emulator are no use to a GPU, nor to an emulator built anew.
  process.env.SPFT_CUDA_CACHE ??= join(BUILT, `kernels-${Math.round(statSync(join(BUILT, 'libnvrtc.so')).mtimeMs)}`);
  emulated = true;
  return null;
}
