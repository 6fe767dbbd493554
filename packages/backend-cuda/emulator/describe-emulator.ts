/** @file The emulator in its own tests: called as the backend calls CUDA, but without the backend. */
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { emulatorFolder, whyNoEmulator } from './folder.js';
import { Libraries, loadKoffi } from './libraries.js';

export const HEADERS = `-I${fileURLToPath(new URL('../cuda', import.meta.url))}`;
const KEPT = ['SPFT_EMULATOR_QUIET', 'SPFT_EMULATOR_HEALS', 'SPFT_EMULATOR_CACHE'];
const koffi = loadKoffi();
const why = orRequired('cuda', koffi ? whyNoEmulator() : 'koffi is not installed');

/** In the tests of `describeEmulator`. */
export let cuda: Libraries;

export const bf16Bits = (x: number): number => new Uint32Array(new Float32Array([x]).buffer)[0]! >>> 16;
export const numbers = (count: number, of: (i: number) => number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => of(i));
/** Small integers, whose products and sums are exact in every format. */
export const small = (i: number): number => ((i * 7919) % 9) - 4;
export const int = (value: number): { readonly int: number } => ({ int: value });

/** Tests with the emulator loaded, each without the settings and the memory of the one before; skipped, with the reason, where it cannot be. */
export function describeEmulator(name: string, body: () => void): void {
  describe.skipIf(why)(`${name}${why ? ` (${why})` : ''}`, () => {
    beforeAll(() => {
      process.env.SPFT_EMULATOR_QUIET ??= '1';
      process.env.SPFT_EMULATOR_HEALS = '1';
      cuda = new Libraries(koffi!, emulatorFolder());
    }, 240_000);
    afterEach(() => {
      for (const name of Object.keys(process.env)) {
        if (name.startsWith('SPFT_EMULATOR_') && !KEPT.includes(name)) delete process.env[name];
      }
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
    });
    body();
  });
}

const kernelOf = (body: string) =>
  cuda.kernel(
    'k',
    `#include "spft.cuh"\nextern "C" __global__ void k(float* out) { const int t = threadIdx.x; ${body} }`,
    [HEADERS],
  );

/** Runs a kernel of one block whose first parameter is an array of floats; returns the array. */
export function run(body: string, threads: number, count: number, shared = 0): Float32Array {
  const out = cuda.allocate(4 * count);
  const status = cuda.launch(kernelOf(body), { block: [threads], shared }, [out]);
  if (status !== 0) throw new Error(`the launch returned ${status}`);
  return cuda.floats(out, count);
}

/** The status that such a kernel's launch returns. */
export const failing = (body: string, threads = 64): number =>
  cuda.launch(kernelOf(body), { block: [threads] }, [cuda.allocate(4096)]);
