/**
 * @file Every variant of every kernel compiles for every architecture, by the real NVRTC, which needs no GPU: that below `SPFT_TEST_NVRTC` (a folder
 * of `pip install --target`), `SPFT_CUDA_PATH`, or where pip put `nvidia-cuda-nvrtc-cu12`. Images go to the cache that the backend reads, so a second run takes no time.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { orRequired } from '../../../test/support/required.js';
import { compileCached } from './device/compiler.js';
import { loadFrom } from './device/device.js';
import './kernels.js';
import { Nvrtc } from './libraries/nvrtc.js';
import { declaredVariants, variantName } from './shared/variants.js';

const ARCHITECTURES = (process.env.SPFT_CUDA_ARCHITECTURES ?? 'sm_80,sm_90a,sm_100').split(',');

/** The compiler, or why there is none. */
function findNvrtc(): Nvrtc | string {
  const { SPFT_TEST_NVRTC: folder } = process.env;
  if (folder && existsSync(join(folder, 'nvidia'))) process.env.SPFT_CUDA_PATH = folder;
  try {
    const { loaded, path } = loadFrom('nvrtc', (path) => new Nvrtc(path), 'NVRTC was not found');
    return path.includes('emulator') ? 'the NVRTC found is the emulator’s' : loaded;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * Variants of a file that are compiled for an architecture. All, which takes two minutes each; with `SPFT_CUDA_COMPILE=some`, as CI has it, all of
 * most files and some of those with many for the first, one of each file for the others.
 */
function variantsOf(file: string, architecture: string) {
  const all = declaredVariants().filter(
    (declared) => declared.file === file && [undefined, architecture].includes(declared.architecture),
  );
  if (process.env.SPFT_CUDA_COMPILE !== 'some') return all;
  const every = architecture === ARCHITECTURES[0] ? Math.ceil(all.length / 12) : all.length;
  return all.filter((_, n) => n % every === 0);
}

const nvrtc = findNvrtc();
orRequired('nvrtc', typeof nvrtc === 'string' ? nvrtc : null);
const files = [...new Set(declaredVariants().map(({ file }) => file))];

describe.each(ARCHITECTURES)('kernels for %s', (architecture) => {
  it.for(files)('%s.cu compiles in every variant', { timeout: 600_000 }, (file, { skip }) => {
    if (typeof nvrtc === 'string') return skip(nvrtc);
    const failures: string[] = [];
    for (const variant of variantsOf(file, architecture)) {
      try {
        compileCached(nvrtc, architecture, variant.file, variant.defines);
      } catch (error) {
        failures.push(`${variantName(variant)}: ${(error as Error).message}`);
      }
    }
    if (failures.length > 0)
      throw new Error(`${failures.length} variants do not compile\n${failures.slice(0, 5).join('\n')}`);
  });
});
