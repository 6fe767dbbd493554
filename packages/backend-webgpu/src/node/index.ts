/**
 * @file `@spft/backend-webgpu/node`: WebGPU where there is no browser, by npm's package `webgpu` (Dawn, which drives Vulkan, Metal or Direct3D).
 */
import { WebGPUError } from '../errors.js';

/** What is used of the package. */
interface WebGPUPackage {
  create(flags: string[]): object;
  readonly globals: object;
}

export interface ProvideOptions {
  /** For Dawn, `name=value`: `backend=vulkan`, `enable-dawn-features=…`. */
  readonly flags?: readonly string[];
}

async function importDawn(): Promise<WebGPUPackage> {
  // A name that is no literal, as the package is the user's to install.
  const name: string = 'webgpu';
  try {
    return (await import(name)) as WebGPUPackage;
  } catch (cause) {
    const missing = (cause as { code?: string }).code === 'ERR_MODULE_NOT_FOUND';
    throw new WebGPUError(
      'no-webgpu',
      missing
        ? "the package 'webgpu' is wanted for WebGPU in Node and not installed: npm install webgpu"
        : `the package 'webgpu' does not load here: ${(cause as Error).message.split('\n')[0]}`,
      { cause },
    );
  }
}

/**
 * Sets `navigator.gpu` and WebGPU's globals, unless they are there. A process that provided it may need `process.exit()` to end, as Dawn's
 * instance lives as long as anything refers to it.
 * @throws WebGPUError where the package is missing or does not load.
 */
export async function provideWebGPU({ flags = [] }: ProvideOptions = {}): Promise<void> {
  const given = globalThis as { navigator?: object };
  if (given.navigator && 'gpu' in given.navigator) return;
  const { create, globals } = await importDawn();
  Object.assign(globalThis, globals);
  const gpu = create([...flags]);
  if (given.navigator) Object.defineProperty(given.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
}
